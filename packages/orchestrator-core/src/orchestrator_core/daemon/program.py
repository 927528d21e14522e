"""The start of a daemon: settings, folder, lock and socket in this order, then it serves.

Everything that can be wrong is found before anything is touched, and is one line on stderr with
its exit code; the socket listens before the daemon adopts, restores or starts anything.
"""

import json
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from orchestrator_core.config import loader
from orchestrator_core.config.layout import Layout
from orchestrator_core.config.loader import Loaded
from orchestrator_core.daemon import logs
from orchestrator_core.daemon.settings import DaemonSettings, refuse_open_network
from orchestrator_core.daemon.tls import ServerTls
from orchestrator_core.errors import Code, Exit, LlorchError, Refusal, error_for
from orchestrator_core.platforms import files, select, sockets
from orchestrator_core.platforms.names import program_of
from orchestrator_core.platforms.port import Platform

__all__ = ["OwnTls", "Program", "Site", "acquire", "listen", "run_program"]

_COMMAND_PATIENCE_S: Final = 10.0
_COMMAND_PAUSE_S: Final = 0.05
# A service starts with its machine, whose network may get its address later; a service manager
# waits longer than this for us, and then starts us again.
_ADDRESS_PATIENCE_S: Final = 45.0
_ADDRESS_PAUSE_S: Final = 1.0
_SERVICE_MARK: Final = "INVOCATION_ID"

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


@dataclass(frozen=True, slots=True)
class OwnTls(Generic[S]):
    """A daemon that makes a certificate by itself: when it does, and how it is opened."""

    is_wanted: Callable[[S], bool]
    open: Callable[[S, Layout], ServerTls | Refusal]


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
    own_tls: OwnTls[S] | None = None


def run_program(
    program: Program[S],
    *,
    config: Path | None,
    flags: Mapping[str, object],
    env: Mapping[str, str],
    show_config: bool = False,
) -> int:
    """Run the daemon to its end and return its exit code; or only say what it would run with."""
    try:
        if show_config:
            _show(program, config, flags, env)
        else:
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
    settings = _load(program, config, flags, env, layout).settings
    tls = _open_tls(program, settings)
    folder = program.lock(layout).parent
    files.ensure_folder(folder)
    files.ensure_folder(layout.state)
    lock = files.FileLock(program.lock(layout))
    if not acquire(lock, program.name):
        raise error_for(_folder_taken(folder, lock.holder_pid()))
    try:
        # Under the lock: two starts must not make two certificates.
        tls = tls or _make_tls(program, settings, layout)
        site = Site(settings, layout, select.current(), env, program.version, tls)
        with listen(site) as listener:
            logs.configure()
            program.serve(site, listener)
    finally:
        lock.release()


def _show(
    program: Program[S], config: Path | None, flags: Mapping[str, object], env: Mapping[str, str]
) -> None:
    """One line of JSON: every setting, and its origin; nothing is made, locked or listened to."""
    layout = Layout.from_env(env)
    file = config or layout.config_file(program.config_name)
    loaded = _load(program, config, flags, env, layout)
    tls = _open_tls(program, loaded.settings)
    encrypted = tls is not None or _makes_own_tls(program, loaded.settings)
    _check_address(loaded.settings, encrypted=encrypted)
    told = {
        "program": program.name,
        "version": program.version,
        "file": str(file),
        "settings": loaded.settings.model_dump(mode="json"),
        "origins": dict(loaded.origins),
        "descriptions": {
            name: field.description or "" for name, field in program.settings.model_fields.items()
        },
    }
    sys.stdout.write(json.dumps(told) + "\n")


def _load(
    program: Program[S],
    config: Path | None,
    flags: Mapping[str, object],
    env: Mapping[str, str],
    layout: Layout,
) -> Loaded[S]:
    return loader.load(
        program.settings,
        env_prefix=program.env_prefix,
        env=env,
        file=config or layout.config_file(program.config_name),
        file_required=config is not None,
        flags=flags,
    )


def _makes_own_tls(program: Program[S], settings: S) -> bool:
    return program.own_tls is not None and program.own_tls.is_wanted(settings)


def _make_tls(program: Program[S], settings: S, layout: Layout) -> ServerTls | None:
    if program.own_tls is None or not program.own_tls.is_wanted(settings):
        return None
    return _opened(program.own_tls.open(settings, layout))


def _open_tls(program: Program[S], settings: S) -> ServerTls | None:
    return _opened(program.tls(settings))


def _opened(tls: ServerTls | Refusal | None) -> ServerTls | None:
    if isinstance(tls, Refusal):
        raise error_for(tls)
    return tls


def acquire(lock: files.FileLock, own_name: str) -> bool:
    """Take the folder's lock; a command that holds it for one act is waited for, a daemon is not."""
    deadline_s = time.monotonic() + _COMMAND_PATIENCE_S
    while not lock.try_acquire():
        pid = lock.holder_pid()
        if (pid is not None and program_of(pid) == own_name) or time.monotonic() >= deadline_s:
            return False
        time.sleep(_COMMAND_PAUSE_S)
    return True


def _check_address(settings: DaemonSettings, *, encrypted: bool) -> None:
    address = sockets.parse_bind(settings.bind)
    if isinstance(address, Refusal):
        raise error_for(address)
    refusal = refuse_open_network(settings, address[0], encrypted=encrypted)
    if refusal is not None:
        raise error_for(refusal)


def listen(site: Site[S]) -> socket.socket:
    """Open the port; a service waits for an address that its machine does not have yet."""
    _check_address(site.settings, encrypted=site.tls is not None)
    listener = sockets.bind_listener(site.settings.bind, site.platform)
    deadline_s = time.monotonic() + _ADDRESS_PATIENCE_S
    while isinstance(listener, Refusal):
        if not (listener.details.get("is_missing") and _SERVICE_MARK in site.env):
            raise error_for(listener)
        if time.monotonic() >= deadline_s:
            # Not a matter of settings: the service manager shall try again.
            raise error_for(Refusal(Code.UNREACHABLE, listener.message))
        time.sleep(_ADDRESS_PAUSE_S)
        listener = sockets.bind_listener(site.settings.bind, site.platform)
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
