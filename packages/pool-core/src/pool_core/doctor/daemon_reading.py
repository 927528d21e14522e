"""Looks at pool-managerd from the outside: its run file, lock, port and answer, and its service.

The host is read first; the daemon itself is only asked whether it answers, with a short timeout.
"""

import contextlib
import getpass
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.clients.trust import Trust
from orchestrator_core.config import loader
from orchestrator_core.config.layout import POOL_MANAGERD, Layout
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.daemon.units import UNIT
from orchestrator_core.errors import LlorchError, Refusal
from orchestrator_core.platforms import files, runfiles, sockets
from orchestrator_core.platforms.port import Platform
from pool_core.doctor.facts import DaemonFacts, ServiceFacts
from pool_core.workers.host_settings import HostSettings

__all__ = ["daemon", "service", "user_name"]

_ANSWER_TIMEOUT_S: Final = 2.0
_DEFAULT_BIND: Final = "127.0.0.1:9200"


class _Settings(HostSettings):
    bind: str = _DEFAULT_BIND


def daemon(layout: Layout, platform: Platform, env: Mapping[str, str], version: str) -> DaemonFacts:
    """What is there of the daemon."""
    fault: str | None = None
    try:
        bind = _read_bind(layout, env)
    except LlorchError as error:
        bind, fault = _DEFAULT_BIND, error.refusal.message
    address = sockets.parse_bind(bind)
    run = runfiles.read_live(layout.run_folder, POOL_MANAGERD, platform)
    port = None if isinstance(address, Refusal) else address[1] or None
    return DaemonFacts(
        version=version,
        bind=bind,
        settings_fault=address.message if isinstance(address, Refusal) else fault,
        catalog_fault=_catalog_fault(layout),
        run=run,
        lock_pid=_lock_pid(layout.pool_lock),
        answers=None if run is None else _answers(run),
        port=port,
        holder=platform.port_holder(port) if port else None,
        is_draining=layout.pool_drain.exists(),
    )


def _catalog_fault(layout: Layout) -> str | None:
    try:
        Catalog.of(layout)
    except LlorchError as error:
        return error.refusal.message
    return None


def service(env: Mapping[str, str], root: Path) -> ServiceFacts:
    """Whether a service of ours is installed, and whether it outlives the logout."""
    user = user_name()
    if not (root / "run/systemd/system").is_dir():
        return ServiceFacts(user=user)
    config = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME", "/")) / ".config")
    places = {
        "system": root / "etc/systemd/system" / UNIT,
        "user": root / str(config).lstrip("/") / "systemd/user" / UNIT,
    }
    installed = next((kind for kind, path in places.items() if path.is_file()), None)
    return ServiceFacts(
        manager="systemd",
        installed=installed,
        lingers=(root / "var/lib/systemd/linger" / user).exists(),
        user=user,
    )


def user_name() -> str:
    """The name of this user, or its number where nobody has named it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def _read_bind(layout: Layout, env: Mapping[str, str]) -> str:
    file = layout.config_file("pool")
    found = loader.load(_Settings, env_prefix="LLORCH_POOL_", env=env, file=file, flags={})
    return found.settings.bind


def _lock_pid(lock: Path) -> int | None:
    # Where a file is in the place of a folder nobody holds a lock; the folder has its own finding.
    with contextlib.suppress(NotADirectoryError):
        return files.FileLock(lock).holder_pid()
    return None


def _answers(run: RunFile) -> bool:
    try:
        trust = Trust.in_run_file(run)
        with PoolClient(run.url, None, timeout_s=_ANSWER_TIMEOUT_S, trust=trust) as pool:
            return pool.health().status == "ok"
    except LlorchError:
        return False
