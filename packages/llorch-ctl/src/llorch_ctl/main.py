"""The llorch command: the table of its commands, and nothing that takes time to import."""

from typing import Final

import click

from llorch_ctl.settings import CliSettings, crash_policy
from orchestrator_core.console.lazy_group import Lazy, ProgramGroup

__all__ = ["cli", "main"]

_HELP: Final = """Make one LLM endpoint out of every machine you own.

llorch starts the orchestrator, hands in jobs and shows what runs where. Data goes to stdout,
everything else to stderr, so every command can be used in a script.
"""

_EPILOG: Final = """\b
Begin on one machine:
  llorch up
  llorch jobs submit --model tiny-chat --prompt "What is a worker?"
  llorch down

\b
Then a second one, with nothing but SSH between them:
  llorch host trust mac
  llorch host add mac
  llorch pool status

\b
Exit codes: 0 ok, 1 failure, 2 wrong usage, 3 not found, 4 refused, 5 unreachable,
124 timeout, 130 interrupted.
"""

_COMMANDS: Final = {
    "up": Lazy("llorch_ctl.commands.up:up", "Start everything on this machine and print its key."),
    "down": Lazy("llorch_ctl.commands.up:down", "Stop everything on this machine."),
    "orchestrator": Lazy(
        "llorch_ctl.commands.orchestrator:orchestrator",
        "Start, stop, watch and back up orchestratord.",
    ),
    "jobs": Lazy(
        "llorch_ctl.commands.jobs.group:jobs", "Hand in jobs, follow, list and cancel them."
    ),
    "keys": Lazy(
        "llorch_ctl.commands.keys.group:keys", "Make, list and revoke keys, and see their usage."
    ),
    "pool": Lazy(
        "llorch_ctl.commands.pool.group:pool",
        "Show the hosts and their workers, and control the pool of any host.",
    ),
    "host": Lazy(
        "llorch_ctl.commands.host.group:host", "Make machines you own pools, over SSH; undo it."
    ),
    "dev": Lazy("llorch_ctl.commands.dev.group:dev", "Make this machine ready, and find faults."),
    "config": Lazy(
        "llorch_ctl.commands.config:config", "Show what this installation goes by, and why."
    ),
    "completion": Lazy(
        "llorch_ctl.commands.completion:completion", "Print the script that completes commands."
    ),
    "support-bundle": Lazy(
        "llorch_ctl.commands.support_bundle:support_bundle",
        "Collect what helps to find a fault into one file.",
    ),
}


@click.pass_context
def _prepare(ctx: click.Context) -> None:
    ctx.obj = CliSettings.from_environment()


cli = click.version_option(
    package_name="llorch-ctl", prog_name="llorch", message="%(prog)s %(version)s"
)(
    ProgramGroup(
        "llorch",
        lazy=_COMMANDS,
        help=_HELP,
        epilog=_EPILOG,
        crash_policy=crash_policy,
        callback=_prepare,
    )
)


def main() -> None:
    """Run the command line of this process."""
    cli(prog_name="llorch")
