"""Names everything that a support bundle holds of this machine and of its orchestrator.

No prompt, no answer and no key file is read: jobs are only counted, files are named one by one.
"""

import json
import platform
import subprocess
import sys
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Final, cast

from llorch_ctl.bundle.contents import Contents
from llorch_ctl.bundle.tails import read_tail, tree_size
from llorch_ctl.diagnosis.daemon_settings import read_configs
from llorch_ctl.diagnosis.examination import Wanted, examine
from llorch_ctl.diagnosis.findings import judge
from llorch_ctl.diagnosis.own_settings import own_settings
from llorch_ctl.home.connection import connect
from llorch_ctl.settings import CliSettings
from orchestrator_core.config.layout import ORCHESTRATORD, POOL_MANAGERD
from orchestrator_core.console.daemons import find_program
from orchestrator_core.errors import Refusal

__all__ = ["collect_machine", "collect_orchestrator"]

_LOG_BYTES: Final = 256 << 10
_WORKER_LOG_BYTES: Final = 64 << 10
_WORKER_LOGS: Final = 16
_CONFIG_BYTES: Final = 256 << 10
_JOBS: Final = 2000
_LOCAL_TIMEOUT_S: Final = 60.0
_ASK_TIMEOUT_S: Final = 10.0
_DAEMONS: Final = (ORCHESTRATORD, POOL_MANAGERD)
_PARTS: Final = (
    "llorch",
    "asyncssh",
    "click",
    "fastapi",
    "httpx",
    "pydantic",
    "uvicorn",
    "xllamacpp",
)


def collect_machine(contents: Contents, settings: CliSettings, *, worker_logs: bool) -> None:
    """Versions, settings, run files, logs, findings and sizes."""
    layout = settings.layout
    contents.take("versions.json", _versions)
    contents.take("settings.json", lambda: _settings(settings))
    for name in ("llorch", "orchestrator", "pool", "catalog"):
        path = layout.config_file(name)
        contents.take(f"config/{path.name}", lambda path=path: read_tail(path, _CONFIG_BYTES))
    for daemon in _DAEMONS:
        path = layout.run_folder / f"{daemon}.json"
        contents.take(f"run/{path.name}", lambda path=path: _json_file(path))
    for path in sorted(layout.log_folder.glob("*.log")):
        contents.take(f"log/{path.name}", lambda path=path: read_tail(path, _LOG_BYTES))
    if worker_logs:
        logs = sorted(layout.worker_logs.glob("*.log"), key=_changed, reverse=True)
        for path in logs[:_WORKER_LOGS]:
            name = f"log/workers/{path.name}"
            contents.take(name, lambda path=path: read_tail(path, _WORKER_LOG_BYTES))
    contents.take("doctor.json", lambda: _findings(settings))
    contents.take("pool-doctor.json", lambda: _local_pool(settings, "dev", "doctor"))
    contents.take("pool-status.json", lambda: _local_pool(settings, "status"))
    contents.take("sizes.json", lambda: _sizes(settings))


def collect_orchestrator(contents: Contents, settings: CliSettings, url: str | None) -> None:
    """What the orchestrator tells of its pools, and how many jobs are in which state."""
    contents.take("orchestrator/pools.json", lambda: _pools(settings, url))
    contents.take("orchestrator/jobs.json", lambda: _jobs(settings, url))


def _findings(settings: CliSettings) -> list[dict[str, object]]:
    found = judge(examine(settings, Wanted()))
    return [
        {"severity": it.severity.value, "subject": it.subject, "text": it.text, "fix": it.fix}
        for it in found
    ]


def _versions() -> dict[str, object]:
    installed = {
        str(it.name): it.version
        for it in metadata.distributions()
        if str(it.name).lower().startswith(_PARTS)
    }
    return {
        "python": sys.version,
        "platform": platform.platform(),
        "machine": platform.machine(),
        "installed": dict(sorted(installed.items())),
    }


def _settings(settings: CliSettings) -> dict[str, object]:
    found: dict[str, object] = {
        "llorch": {it.key: [it.value, it.origin] for it in own_settings(settings)}
    }
    for program, told in read_configs(settings.daemon_env()).items():
        if isinstance(told, Refusal):
            found[program.name] = told.message
        else:
            pairs = told.settings.items()
            found[program.name] = {key: [value, told.origins[key]] for key, value in pairs}
    return found


def _local_pool(settings: CliSettings, *verb: str) -> object:
    """What llorch-pool of this machine says; it is a program of its own and may be missing."""
    done = subprocess.run(
        [str(find_program("llorch-pool")), *verb, "--format", "json"],
        env=settings.daemon_env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_LOCAL_TIMEOUT_S,
        check=False,
    )
    try:
        return json.loads(done.stdout)
    except ValueError:
        return {"exit_code": done.returncode, "said": done.stderr[-2000:]}


def _sizes(settings: CliSettings) -> dict[str, object]:
    layout = settings.layout
    folders = {
        "data": layout.data,
        "state": layout.state,
        "cache": layout.cache,
        "models": layout.models_folder,
    }
    return {name: tree_size(path) for name, path in folders.items()}


def _pools(settings: CliSettings, url: str | None) -> list[object]:
    with connect(settings, url, timeout_s=_ASK_TIMEOUT_S) as client:
        views = client.pools().items
    return [
        view.model_dump(mode="json", exclude={"workers": {"__all__": {"key"}}}) for view in views
    ]


def _jobs(settings: CliSettings, url: str | None) -> dict[str, object]:
    states: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    models: Counter[str] = Counter()
    with connect(settings, url, timeout_s=_ASK_TIMEOUT_S) as client:
        for page in client.job_pages(limit=_JOBS):
            for job in page.items:
                states[str(job.status)] += 1
                models[job.model] += 1
                if job.error_code:
                    errors[str(job.error_code)] += 1
    counted = {"status": states, "error_code": errors, "model": models}
    return {"newest": sum(states.values()), **{name: dict(it) for name, it in counted.items()}}


def _json_file(path: Path) -> object:
    text = read_tail(path, _CONFIG_BYTES)
    if text is None:
        return None
    try:
        return cast("object", json.loads(text))
    except ValueError:
        return text


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
