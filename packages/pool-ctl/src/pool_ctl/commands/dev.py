"""llorch-pool dev: what helps when something does not work."""

from typing import Final

import click

from orchestrator_core.console.lazy_group import LazyGroup
from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Column, Format, Output
from orchestrator_core.errors import Exit
from pool_ctl.settings import CliSettings

__all__ = ["dev", "doctor"]

_COLUMNS: Final = (
    Column("severity", "Severity"),
    Column("subject", "Subject"),
    Column("text", "Finding"),
    Column("fix", "Fix"),
)


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
    from dataclasses import asdict
    from importlib import metadata

    from pool_core.doctor.examination import Patient, examine
    from pool_core.doctor.findings import Severity, has_errors, judge

    patient = Patient(
        layout=settings.layout,
        platform=settings.daemons().platform,
        env=settings.env,
        version=metadata.version("llorch-pool-ctl"),
    )
    findings = judge(examine(patient))
    out.rows([asdict(finding) for finding in findings], _COLUMNS)
    if out.shape is Format.TABLE:
        counts = ((kind, sum(it.severity is kind for it in findings)) for kind in Severity)
        told = [f"{count} {kind.value}" for kind, count in reversed(list(counts)) if count]
        out.say(", ".join(told))
    return Exit.FAILURE if has_errors(findings) else Exit.OK


dev = LazyGroup(
    "dev",
    commands=[doctor],
    help="Find out what is wrong with this host.\n\nNothing here changes anything.",
)
