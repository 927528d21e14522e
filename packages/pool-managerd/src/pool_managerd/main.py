"""The pool-managerd program: its flags; orchestrator_core.daemon starts it, app.daemon runs it.

Heavy modules load only once the flags are read, so that --help and a wrong flag answer at once.
"""

import os
import sys
from argparse import BooleanOptionalAction
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from orchestrator_core.daemon.flags import daemon_parser, given_flags

if TYPE_CHECKING:
    import socket

    from orchestrator_core.daemon.program import Site
    from pool_managerd.settings import PoolSettings

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
    version = metadata.version("llorch-pool-managerd")
    parser = daemon_parser(
        "pool-managerd",
        description="Watch over this host's devices and run its workers.",
        epilog=_EPILOG,
        version=version,
        default_bind="127.0.0.1:9200",
        config_file="config/pool.toml",
    )
    add = parser.add_argument
    add("--pool-id", metavar="NAME", help="this host's name in the cluster (default: hostname)")
    add(
        "--orchestrator-url",
        metavar="URL",
        help='register there; "local" finds the one of this installation (default: work alone)',
    )
    add(
        "--orchestrator-key-file",
        type=Path,
        metavar="FILE",
        help="key for registering (default: state/local-pool.key)",
    )
    add(
        "--tls",
        action=BooleanOptionalAction,
        default=None,
        help="speak HTTPS only (default: where other hosts can reach the address)",
    )
    flags = parser.parse_args(argv)

    from orchestrator_core.config.layout import POOL_MANAGERD
    from orchestrator_core.daemon.program import OwnTls, Program, run_program
    from pool_managerd.app.encryption import open_named_tls, open_own_tls, wants_own_tls
    from pool_managerd.settings import ENV_PREFIX, PoolSettings

    program = Program(
        name=POOL_MANAGERD,
        version=version,
        settings=PoolSettings,
        env_prefix=ENV_PREFIX,
        config_name="pool",
        lock=lambda layout: layout.pool_lock,
        serve=_serve,
        tls=open_named_tls,
        own_tls=OwnTls(wants_own_tls, open_own_tls),
    )
    return run_program(
        program,
        config=flags.config,
        flags=given_flags(flags),
        env=dict(env),
        show_config=flags.show_config,
    )


def _serve(site: "Site[PoolSettings]", listener: "socket.socket") -> None:
    # What only tells settings, or is refused its port, need not load a whole server first.
    from pool_managerd.app.daemon import serve

    serve(site, listener)
