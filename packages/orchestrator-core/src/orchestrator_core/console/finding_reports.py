"""Shows findings as a table with their count, or as data; errors end a command with a failure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

from orchestrator_core.console.render import Column, Format, Output
from orchestrator_core.errors import Exit
from orchestrator_core.findings import Finding, Severity, has_errors

__all__ = ["show_findings"]

_COLUMNS: Final = (
    Column("severity", "Severity"),
    Column("subject", "Subject"),
    Column("text", "Finding"),
    Column("fix", "Fix"),
)


def show_findings(
    out: Output, findings: Sequence[Finding], *, beside: Mapping[str, object] | None = None
) -> int:
    """Show findings and tell the exit code; a script gets what stands beside them as well."""
    rows = [asdict(finding) for finding in findings]
    if beside is not None and out.shape is not Format.TABLE:
        out.record({**beside, "findings": rows}, ())
    else:
        out.rows(rows, _COLUMNS)
    if out.shape is Format.TABLE:
        counts = ((kind, sum(it.severity is kind for it in findings)) for kind in Severity)
        told = [_counted(count, kind) for kind, count in reversed(list(counts)) if count]
        out.say(", ".join(told))
    return Exit.FAILURE if has_errors(findings) else Exit.OK


def _counted(count: int, kind: Severity) -> str:
    is_many = count > 1 and kind is not Severity.OK
    return f"{count} {kind.value}{'s' if is_many else ''}"
