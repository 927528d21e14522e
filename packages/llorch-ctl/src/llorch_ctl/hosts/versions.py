"""Decides whether the llorch-pool of a host goes with this llorch, and what to do if not; pure."""

from typing import Final

from orchestrator_core.contracts.versions import skew_refusal
from orchestrator_core.errors import Code, Refusal

__all__ = ["host_skew"]

_SHOWN: Final = 32


def host_skew(ours: str, theirs: str, host: str) -> Refusal | None:
    """Refuse a host that is more than one minor version older or newer than we are."""
    found = skew_refusal(ours, theirs, f"llorch-pool on {host}", "this llorch")
    if found is None:
        return None
    shown = "".join(char if char.isprintable() else "?" for char in theirs[:_SHOWN])
    is_newer = _numbers(theirs) > _numbers(ours)
    step = "upgrade llorch here" if is_newer else f"run: llorch host upgrade {host}"
    line = f"llorch-pool on {host} is {shown or 'of no version'}, this is {ours}: {step}"
    return Refusal(Code.VERSION_SKEW, line, found.details)


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.removeprefix("v").split(".")[:2]
    return tuple(int(part) for part in parts if part.isascii() and part.isdigit())
