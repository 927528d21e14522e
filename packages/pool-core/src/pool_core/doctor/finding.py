"""One finding of the doctor: what it is about, how bad it is, what is true and what helps."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Severity"]


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
