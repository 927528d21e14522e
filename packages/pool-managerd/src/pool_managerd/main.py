"""The pool-managerd program: its flags; orchestrator_core.daemon starts it, app.daemon runs it.

Heavy modules load only once the flags are read, so that --help and a wrong flag answer at once.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import NoReturn

from orchestrator_core.daemon.flags import daemon_parser, given_flags

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
    flags = parser.parse_args(argv)

    from orchestrator_core.config.layout import POOL_MANAGERD
    from orchestrator_core.daemon.program import Program, run_program
    from pool_managerd.app.daemon import serve
    from pool_managerd.settings import ENV_PREFIX, PoolSettings

    program = Program(
        name=POOL_MANAGERD,
        version=version,
        settings=PoolSettings,
        env_prefix=ENV_PREFIX,
        config_name="pool",
        lock=lambda layout: layout.pool_lock,
        serve=serve,
    )
    return run_program(program, config=flags.config, flags=given_flags(flags), env=dict(env))
