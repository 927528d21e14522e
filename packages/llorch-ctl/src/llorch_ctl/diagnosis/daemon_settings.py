"""What a daemon of this installation would run with: its own program checks and tells it.

The settings of a daemon are its own; here nobody knows them, and a mistake in them is its word.
"""

import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from orchestrator_core.console.daemons import find_program
from orchestrator_core.console.programs import ORCHESTRATORD, POOL_MANAGERD, DaemonProgram
from orchestrator_core.errors import Code, LlorchError, Refusal

__all__ = ["Configs", "DaemonConfig", "read_configs", "read_daemon_settings"]

_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonConfig:
    """Settings by dotted key, each with its origin and a sentence, and the file that was looked for."""

    program: str
    version: str
    file: Path
    settings: Mapping[str, object]
    origins: Mapping[str, str]
    descriptions: Mapping[str, str]


Configs = Mapping[DaemonProgram, DaemonConfig | Refusal]


def read_configs(env: Mapping[str, str]) -> Configs:
    """Ask both daemons' programs side by side: most of the time is their start."""
    both = (ORCHESTRATORD, POOL_MANAGERD)
    with ThreadPoolExecutor(len(both)) as threads:
        asked = {it: threads.submit(read_daemon_settings, it, env) for it in both}
        return {program: answer.result() for program, answer in asked.items()}


def read_daemon_settings(program: DaemonProgram, env: Mapping[str, str]) -> DaemonConfig | Refusal:
    """Ask the program; a Refusal says that it is missing or which setting is wrong."""
    try:
        path = find_program(program.name)
    except LlorchError as error:
        return error.refusal
    try:
        done = subprocess.run(
            [str(path), "--show-config"],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        text = f"{program.name} --show-config has not answered in {_TIMEOUT_S:g} s"
        return Refusal(Code.TIMEOUT, text)
    except OSError as error:
        return Refusal(Code.INTERNAL, f"{path}: {error.strerror}")
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = lines[-1] if lines else f"it ended with exit code {done.returncode}"
        return Refusal(Code.CONFIG_INVALID, said.removeprefix(f"{program.name}: "))
    return _read(program, done.stdout)


def _read(program: DaemonProgram, text: str) -> DaemonConfig | Refusal:
    try:
        told: object = json.loads(text)
    except ValueError:
        told = None
    parts = cast("dict[str, object]", told) if isinstance(told, dict) else {}
    settings, origins = parts.get("settings"), parts.get("origins")
    if not isinstance(settings, dict) or not isinstance(origins, dict):
        line = f"{program.name} did not say what it runs with; are both of one version?"
        return Refusal(Code.VERSION_SKEW, line)
    tree, sources = cast("dict[str, object]", settings), cast("dict[str, str]", origins)
    about = parts.get("descriptions")
    return DaemonConfig(
        program=program.name,
        version=str(parts.get("version")),
        file=Path(str(parts.get("file"))),
        settings={key: _value(tree, key) for key in sources},
        origins=sources,
        descriptions=cast("dict[str, str]", about) if isinstance(about, dict) else {},
    )


def _value(settings: Mapping[str, object], key: str) -> object:
    head, _, rest = key.partition(".")
    value = settings.get(head)
    if not rest:
        return value
    return _value(cast("dict[str, object]", value), rest) if isinstance(value, dict) else None
