"""One finding of a doctor: what it is about, how bad it is, what is true and what helps; pure.

Both commands and the host code judge in these words, so that they are shown and counted alike.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["Finding", "Severity", "has_errors", "worst_first"]


class Severity(StrEnum):
    """From "nothing to do" to "this will not work"."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """Fix is what a person can type or do; None where nothing needs to be done."""

    severity: Severity
    subject: str
    text: str
    fix: str | None = None


_WORST_FIRST: Final = tuple(reversed(Severity))


def has_errors(findings: Iterable[Finding]) -> bool:
    """True when something will not work."""
    return any(finding.severity is Severity.ERROR for finding in findings)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """The worst at the top; those of one severity stay in their order."""
    return sorted(findings, key=lambda finding: _WORST_FIRST.index(finding.severity))
