"""The orchestratord program: its flags; orchestrator_core.daemon starts it, app.daemon runs it.

Heavy modules load only once the flags are read, so that --help and a wrong flag answer at once.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, NoReturn

from orchestrator_core.daemon.flags import daemon_parser, given_flags
from orchestratord.app.commands import COMMANDS, run_command

if TYPE_CHECKING:
    import socket

    from orchestrator_core.daemon.program import Site
    from orchestratord.settings import OrchestratorSettings

__all__ = ["main", "run"]

_EPILOG = """\
Each flag is also a key of config/orchestrator.toml and a variable LLORCH_ORCHESTRATOR_*.
`llorch orchestrator start` starts this program in the background, `llorch up` with a pool.

commands:
  orchestratord backup PATH [--force]   copy the database, while the daemon runs or not
  orchestratord restore PATH            make a backup the database; stop the daemon first
  orchestratord reset-admin             revoke all admin keys and write a new admin.key
"""


def main() -> NoReturn:
    """Run with this process's own command line and environment."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the daemon or a command; an expected failure is one line on stderr and its exit code."""
    if argv and argv[0] in COMMANDS:
        return run_command(argv, env)
    version = metadata.version("llorch-orchestratord")
    parser = daemon_parser(
        "orchestratord",
        description="Queue requests durably, decide which worker runs each, stream the answers.",
        epilog=_EPILOG,
        version=version,
        default_bind="127.0.0.1:8080",
        config_file="config/orchestrator.toml",
    )
    flags = parser.parse_args(argv)

    from orchestrator_core.config.layout import ORCHESTRATORD
    from orchestrator_core.daemon.program import Program, run_program
    from orchestrator_core.daemon.tls import open_tls
    from orchestratord.settings import ENV_PREFIX, OrchestratorSettings

    program = Program(
        name=ORCHESTRATORD,
        version=version,
        settings=OrchestratorSettings,
        env_prefix=ENV_PREFIX,
        config_name="orchestrator",
        lock=lambda layout: layout.orchestrator_lock,
        serve=_serve,
        tls=lambda settings: open_tls(settings.tls_cert, settings.tls_key),
    )
    return run_program(
        program,
        config=flags.config,
        flags=given_flags(flags),
        env=dict(env),
        show_config=flags.show_config,
    )


def _serve(site: "Site[OrchestratorSettings]", listener: "socket.socket") -> None:
    # What only tells settings, or is refused its port, need not load a whole server first.
    from orchestratord.app.daemon import serve

    serve(site, listener)
