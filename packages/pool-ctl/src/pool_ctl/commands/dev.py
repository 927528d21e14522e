"""llorch-pool dev: what makes a host ready, and what helps when something does not work."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import click

from orchestrator_core.console.lazy_group import Lazy, LazyGroup
from orchestrator_core.console.options import output_options
from orchestrator_core.console.render import Column, Format, Output
from orchestrator_core.errors import Exit
from pool_ctl.settings import CliSettings

if TYPE_CHECKING:
    from pool_core.doctor.findings import Finding

__all__ = ["dev", "doctor", "examine_host", "show_findings"]

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


def show_findings(
    out: Output, findings: "list[Finding]", *, beside: Mapping[str, object] | None = None
) -> int:
    """Show findings and tell the exit code; a script gets what stands beside them as well."""
    from dataclasses import asdict

    from pool_core.doctor.findings import Severity, has_errors

    rows = [asdict(finding) for finding in findings]
    if beside is not None and out.shape is not Format.TABLE:
        out.record({**beside, "findings": rows}, ())
    else:
        out.rows(rows, _COLUMNS)
    if out.shape is Format.TABLE:
        counts = ((kind, sum(it.severity is kind for it in findings)) for kind in Severity)
        told = [f"{count} {kind.value}" for kind, count in reversed(list(counts)) if count]
        out.say(", ".join(told))
    return Exit.FAILURE if has_errors(findings) else Exit.OK


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
