"""Reads what the doctor of another machine has found; it is believed no shape and no length. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Final, cast

from orchestrator_core.findings import Finding, Severity

__all__ = ["read_findings"]

_FINDINGS_MAX: Final = 50
_TEXT_MAX: Final = 300


def read_findings(data: bytes) -> tuple[Finding, ...]:
    """The findings of `llorch-pool dev doctor --format json` that ask for something."""
    try:
        told: object = json.loads(data)
    except ValueError:
        return ()
    rows = cast("list[object]", told) if isinstance(told, list) else []
    return tuple(_findings(rows[:_FINDINGS_MAX]))


def _findings(rows: list[object]) -> Iterator[Finding]:
    for row in rows:
        if not isinstance(row, Mapping):
            continue
        told = cast("Mapping[str, object]", row)
        severity = next((it for it in Severity if it.value == told.get("severity")), Severity.OK)
        subject, text = _line(told.get("subject")), _line(told.get("text"))
        if severity is not Severity.OK and subject and text:
            yield Finding(severity, subject, text, _line(told.get("fix")) or None)


def _line(value: object) -> str:
    text = value[:_TEXT_MAX] if isinstance(value, str) else ""
    return "".join(char if char.isprintable() else " " for char in text)
