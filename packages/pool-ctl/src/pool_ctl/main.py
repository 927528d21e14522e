"""The llorch-pool command: control the pool of one host. Commands load when they are called."""

from typing import Final

import click

from orchestrator_core.console.lazy_group import Lazy, ProgramGroup
from pool_ctl.settings import CliSettings, crash_policy

__all__ = ["cli", "main"]

_HELP: Final = """Control the pool of this host: its devices, workers, models, and its daemon.

Devices, workers and models are managed with the daemon and without it.
Data goes to stdout, everything else to stderr, so every command can be used in a script.
"""

_COMMANDS: Final = {
    "status": Lazy("pool_ctl.commands.status:status", "Show this host's pool at a glance."),
    "devices": Lazy("pool_ctl.commands.devices:devices", "Show what this host computes with."),
    "worker": Lazy("pool_ctl.commands.worker:worker", "Start, stop, list and read workers."),
    "models": Lazy(
        "pool_ctl.commands.models.group:models", "Find, fetch, verify and delete models."
    ),
    "git": Lazy(
        "pool_ctl.commands.git.group:git", "Work on a git checkout of this host and its submodules."
    ),
    "daemon": Lazy(
        "pool_ctl.commands.daemon:daemon", "Start, stop and watch pool-managerd on this host."
    ),
    "dev": Lazy(
        "pool_ctl.commands.dev:dev", "Make this host ready, and find out what is wrong with it."
    ),
    "remote-exec": Lazy(
        "pool_ctl.commands.remote_exec:remote_exec", "Run one command for llorch, over SSH."
    ),
}

_EPILOG: Final = """\b
Examples:
  llorch-pool models download tinyllama
  llorch-pool worker spawn cpu --model tinyllama
  llorch-pool worker list --format json
  llorch-pool daemon start
  llorch-pool daemon stop --workers

\b
Exit codes: 0 ok, 1 failure, 2 wrong usage, 3 not found, 4 refused, 5 unreachable,
124 timeout, 130 interrupted.
"""


@click.pass_context
def _prepare(ctx: click.Context) -> None:
    ctx.obj = CliSettings.from_environment()


cli = click.version_option(
    package_name="llorch-pool-ctl", prog_name="llorch-pool", message="%(prog)s %(version)s"
)(
    ProgramGroup(
        "llorch-pool",
        lazy=_COMMANDS,
        help=_HELP,
        epilog=_EPILOG,
        crash_policy=crash_policy,
        callback=_prepare,
    )
)


def main() -> None:
    """Run the command line of this process."""
    cli(prog_name="llorch-pool")
