"""Reads this machine: programs, folders, modes of files and what SSH goes by; nothing changes."""

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

from llorch_ctl.diagnosis.facts import FolderFacts, LocalFacts, SshFacts
from llorch_ctl.hosts.ways import config_files, known_hosts_files
from llorch_ctl.settings import CliSettings
from orchestrator_core.config.layout import Layout
from orchestrator_core.console.daemons import find_program
from orchestrator_core.errors import LlorchError

__all__ = ["key_files", "own_version", "read_local", "read_ssh", "secret_files"]

_PROGRAMS: Final = ("orchestratord", "pool-managerd", "llorch-pool", "llorch-worker")
_KEYS: Final = ("id_ed25519", "id_ecdsa", "id_rsa", "id_ed25519_sk", "id_ecdsa_sk")


def own_version() -> str:
    """The version of this command."""
    return metadata.version("llorch-ctl")


def read_local(settings: CliSettings) -> LocalFacts:
    """Programs, folders and files of this installation."""
    layout = settings.layout
    folders = {"state": layout.state, "data": layout.data, "config": layout.config}
    return LocalFacts(
        python=sys.version_info[:3],
        version=own_version(),
        programs={name: _program(name) for name in _PROGRAMS},
        folders=tuple(_folder(name, path) for name, path in folders.items()),
        open_secrets=tuple(path for path in secret_files(layout) if _is_open(path)),
        crash_logs=tuple(
            path for path in sorted(layout.log_folder.glob("*-crash.log")) if _size_bytes(path)
        ),
    )


def read_ssh(settings: CliSettings) -> SshFacts:
    """Keys, agent, configuration and known hosts of this user."""
    home = Path(settings.env.get("HOME") or Path.home())
    keys = tuple(path for name in _KEYS if (path := home / ".ssh" / name).is_file())
    agent = settings.env.get("SSH_AUTH_SOCK")
    known = [path for path in known_hosts_files(settings) if _size_bytes(path)]
    return SshFacts(
        keys=keys,
        open_keys=tuple(path for path in keys if _is_open(path)),
        agent=Path(agent) if agent else None,
        agent_answers=bool(agent) and _is_socket(Path(agent)),
        unreadable=tuple(
            path for path in (*config_files(settings), *known) if not os.access(path, os.R_OK)
        ),
        known_hosts=tuple(known),
    )


def secret_files(layout: Layout) -> Iterator[Path]:
    """The files of this installation that no other user may read."""
    yield from key_files(layout)
    if layout.database.exists():
        yield layout.database


def key_files(layout: Layout) -> Iterator[Path]:
    """The files of this installation whose whole content is a secret."""
    alone = (
        layout.admin_key, layout.local_pool_key, layout.pool_key, layout.orchestrator_ssh_key,
        layout.pool_join_token, layout.pool_credential, layout.pool_orchestrator_key,
        layout.pool_tls_key,
    )  # fmt: skip
    yield from (path for path in alone if path.exists())
    yield from sorted(layout.worker_records.glob("*.key"))


def _program(name: str) -> Path | None:
    try:
        return find_program(name)
    except LlorchError:
        return None


def _folder(name: str, path: Path) -> FolderFacts:
    above = (path, *path.parents)
    nearest = next(each for each in above if os.path.lexists(each))
    real = next(each for each in above if each.is_dir())
    return FolderFacts(
        name=name,
        path=path,
        is_writable=os.access(real, os.W_OK | os.X_OK),
        free_bytes=shutil.disk_usage(real).free,
        mode=path.stat().st_mode & 0o777 if path.is_dir() else None,
        obstacle=None if nearest.is_dir() else nearest,
    )


def _is_open(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o077)
    except OSError:
        return False


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
