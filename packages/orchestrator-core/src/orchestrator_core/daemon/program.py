"""The start of a daemon: settings, folder, lock and socket in this order, then it serves.

Everything that can be wrong is found before anything is touched, and is one line on stderr with
its exit code; the socket listens before the daemon adopts, restores or starts anything.
"""

import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from orchestrator_core.config import loader
from orchestrator_core.config.layout import Layout
from orchestrator_core.daemon import logs
from orchestrator_core.daemon.settings import DaemonSettings, refuse_open_network
from orchestrator_core.daemon.tls import ServerTls
from orchestrator_core.errors import Code, Exit, LlorchError, Refusal, error_for
from orchestrator_core.platforms import files, select, sockets
from orchestrator_core.platforms.names import program_of
from orchestrator_core.platforms.port import Platform

__all__ = ["Program", "Site", "acquire", "run_program"]

_COMMAND_PATIENCE_S: Final = 10.0
_COMMAND_PAUSE_S: Final = 0.05

S = TypeVar("S", bound=DaemonSettings)


@dataclass(frozen=True, slots=True)
class Site(Generic[S]):
    """What a daemon was given: settings, folders, operating system, environment."""

    settings: S
    layout: Layout
    platform: Platform
    env: Mapping[str, str]
    version: str
    tls: ServerTls | None = None


def _plain_http(_: object) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program(Generic[S]):
    """What tells one daemon from another."""

    name: str
    version: str
    settings: type[S]
    env_prefix: str
    config_name: str
    lock: Callable[[Layout], Path]
    serve: Callable[[Site[S], socket.socket], None]
    tls: Callable[[S], ServerTls | Refusal | None] = _plain_http


def run_program(
    program: Program[S], *, config: Path | None, flags: Mapping[str, object], env: Mapping[str, str]
) -> int:
    """Run the daemon to its end and return its exit code."""
    try:
        _run(program, config, flags, env)
    except LlorchError as error:
        return _complain(program, error.refusal.message, _exit_code(error.refusal))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(program, f"{where}{error.strerror or error}", Exit.CONFIG)
    return Exit.OK


def _run(
    program: Program[S], config: Path | None, flags: Mapping[str, object], env: Mapping[str, str]
) -> None:
    layout = Layout.from_env(env)
    settings = loader.load(
        program.settings,
        env_prefix=program.env_prefix,
        env=env,
        file=config or layout.config_file(program.config_name),
        file_required=config is not None,
        flags=flags,
    ).settings
    tls = program.tls(settings)
    if isinstance(tls, Refusal):
        raise error_for(tls)
    site = Site(settings, layout, select.current(), env, program.version, tls)
    folder = program.lock(layout).parent
    files.ensure_folder(folder)
    files.ensure_folder(layout.state)
    lock = files.FileLock(program.lock(layout))
    if not acquire(lock, program.name):
        raise error_for(_folder_taken(folder, lock.holder_pid()))
    try:
        with _listen(site) as listener:
            logs.configure()
            program.serve(site, listener)
    finally:
        lock.release()


def acquire(lock: files.FileLock, own_name: str) -> bool:
    """Take the folder's lock; a command that holds it for one act is waited for, a daemon is not."""
    deadline_s = time.monotonic() + _COMMAND_PATIENCE_S
    while not lock.try_acquire():
        pid = lock.holder_pid()
        if (pid is not None and program_of(pid) == own_name) or time.monotonic() >= deadline_s:
            return False
        time.sleep(_COMMAND_PAUSE_S)
    return True


def _listen(site: Site[S]) -> socket.socket:
    address = sockets.parse_bind(site.settings.bind)
    if isinstance(address, Refusal):
        raise error_for(address)
    refusal = refuse_open_network(site.settings, address[0], encrypted=site.tls is not None)
    if refusal is not None:
        raise error_for(refusal)
    listener = sockets.bind_listener(site.settings.bind, site.platform)
    if isinstance(listener, Refusal):
        raise error_for(listener)
    return listener


def _folder_taken(folder: Path, pid: int | None) -> Refusal:
    holder = f"process {pid}" if pid else "another process"
    return Refusal(Code.DATA_IN_USE, f"{holder} already uses {folder}", {"pid": pid})


def _exit_code(refusal: Refusal) -> Exit:
    # Damaged data is as damaged after a restart: a service manager must not try that for ever.
    return Exit.CONFIG if refusal.code is Code.DATA_CORRUPT else refusal.outcome.exit_code


def _complain(program: Program[S], message: str, code: int) -> int:
    sys.stderr.write(f"{program.name}: {message}\n")
    return int(code)
