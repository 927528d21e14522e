"""The pool-managerd program: flags, settings, the lock and the socket; then the daemon runs.

Heavy modules load only once the flags are read, so that --help and a wrong flag answer at once.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from orchestrator_core.config.layout import Layout
    from orchestrator_core.errors import Refusal
    from pool_managerd.app.daemon import Site

__all__ = ["main", "run"]

_EPILOG = """\
Each flag is also a key of config/pool.toml and a variable LLORCH_POOL_*.
`llorch-pool daemon start` starts this program in the background.
"""


def main() -> NoReturn:
    """Run with this process's own command line and environment."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the daemon; an expected failure is one line on stderr and its exit code."""
    flags = _parse(argv)
    from orchestrator_core.errors import Exit, LlorchError

    try:
        _serve(flags, dict(env))
    except LlorchError as error:
        return _complain(error.refusal.message, error.refusal.outcome.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", Exit.CONFIG)
    return Exit.OK


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="pool-managerd",
        description="Watch over this host's devices and run its workers.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--bind", metavar="HOST:PORT", help="address of the API (default: 127.0.0.1:9200)")
    add("--config", type=Path, metavar="FILE", help="settings file (default: config/pool.toml)")
    add("--pool-id", metavar="NAME", help="this host's name in the cluster (default: hostname)")
    add("--orchestrator-url", metavar="URL", help="register there (default: work alone)")
    add(
        "--orchestrator-key-file",
        type=Path,
        metavar="FILE",
        help="key for registering (default: state/local-pool.key)",
    )
    add(
        "--insecure-lan",
        action="store_true",
        default=None,
        help="listen on an address of the network although the API speaks plain HTTP",
    )
    add("--version", action="version", version=f"pool-managerd {_version()}")
    return parser.parse_args(argv)


def _serve(flags: argparse.Namespace, env: dict[str, str]) -> None:
    from orchestrator_core.config import loader
    from orchestrator_core.config.layout import Layout
    from orchestrator_core.errors import error_for
    from orchestrator_core.platforms import files, select
    from pool_managerd.app.daemon import Site
    from pool_managerd.settings import ENV_PREFIX, PoolSettings

    layout = Layout.from_env(env)
    given = {name: value for name, value in vars(flags).items() if name != "config"}
    settings = loader.load(
        PoolSettings,
        env_prefix=ENV_PREFIX,
        env=env,
        file=flags.config or layout.config_file("pool"),
        file_required=flags.config is not None,
        flags=given,
    ).settings
    site = Site(settings, layout, select.current(), env, _version())
    files.ensure_folder(layout.pool_folder)
    lock = files.FileLock(layout.pool_lock)
    if not lock.try_acquire():
        raise error_for(_folder_taken(layout, lock.holder_pid()))
    try:
        _listen_and_run(site)
    finally:
        lock.release()


def _listen_and_run(site: "Site") -> None:
    import uvloop

    from orchestrator_core.daemon import logs
    from orchestrator_core.errors import Refusal, error_for
    from orchestrator_core.platforms import sockets
    from pool_managerd.app.daemon import Daemon
    from pool_managerd.settings import refuse_open_network

    address = sockets.parse_bind(site.settings.bind)
    refusal = address if isinstance(address, Refusal) else None
    if not isinstance(address, Refusal):
        refusal = refuse_open_network(site.settings, address[0])
    if refusal is not None:
        raise error_for(refusal)
    listener = sockets.bind_listener(site.settings.bind, site.platform)
    if isinstance(listener, Refusal):
        raise error_for(listener)
    with listener:
        logs.configure()
        uvloop.run(Daemon(site, listener).run())


def _folder_taken(layout: "Layout", pid: int | None) -> "Refusal":
    from orchestrator_core.errors import Code, Refusal

    holder = f"process {pid}" if pid else "another process"
    return Refusal(Code.DATA_IN_USE, f"{holder} already uses {layout.pool_folder}", {"pid": pid})


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"pool-managerd: {message}\n")
    return int(code)


def _version() -> str:
    return metadata.version("llorch-pool-managerd")
