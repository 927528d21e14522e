"""llorch-pool dev: what makes a host ready, and what helps when something does not work."""

from typing import TYPE_CHECKING

import click

from orchestrator_core.console.lazy_group import Lazy, LazyGroup
from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Output
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from orchestrator_core.findings import Finding

__all__ = ["dev", "doctor", "examine_host"]


@click.command(
    short_help="Check this host and say what helps (exit code 0 or 1).",
    epilog="\b\nExamples:\n  llorch-pool dev doctor\n  llorch-pool dev doctor --format json",
)
@output_options
@click.pass_obj
def doctor(settings: CliSettings, *, out: Output) -> int:
    """Check programs, folders, devices, limits and the daemon of this host.

    Each finding comes with what helps. Nothing is changed, and the daemon need not run. Exit code
    0: there is no error; 1: something will not work.
    """
    from orchestrator_core.console.finding_reports import show_findings

    return show_findings(out, examine_host(settings))


def examine_host(settings: CliSettings) -> "list[Finding]":
    """Read what this host is like, and judge it."""
    from importlib import metadata

    from pool_core.doctor.examination import Patient, examine
    from pool_core.doctor.findings import judge

    patient = Patient(
        layout=settings.layout,
        platform=settings.daemons().platform,
        env=settings.env,
        version=metadata.version("llorch-pool-ctl"),
    )
    return list(judge(examine(patient)))


dev = LazyGroup(
    "dev",
    commands=[doctor],
    lazy={
        "setup": Lazy(
            "pool_ctl.commands.setup.command:setup",
            "Make this host ready; doing it twice does no harm.",
        )
    },
    help="Make this host ready, and find out what is wrong with it.",
)
