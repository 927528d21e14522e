"""Judges whether what a worker needs is free, with a margin, and says why not: pure."""

from dataclasses import dataclass
from typing import Final

from orchestrator_core.fit.estimate import Need
from orchestrator_core.units import format_bytes

__all__ = ["MARGIN", "Verdict", "judge"]

MARGIN: Final = 0.10
"""How much more than its need must be free before a worker is started."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer; needed_bytes is with the margin, and reasons are there where it does not fit."""

    fits: bool
    needed_bytes: int
    free_bytes: int
    reasons: tuple[str, ...] = ()


def judge(need: Need, *, free_bytes: int, margin: float = MARGIN) -> Verdict:
    """Compare a need with the memory that is free."""
    needed_bytes = need.total_bytes + round(need.total_bytes * margin)
    if needed_bytes <= free_bytes:
        return Verdict(fits=True, needed_bytes=needed_bytes, free_bytes=free_bytes)
    reasons = [
        f"it needs {format_bytes(needed_bytes)} with a margin of {margin:.0%}, "
        f"but {format_bytes(max(free_bytes, 0))} are free",
        f"weights {format_bytes(need.weights_bytes)}, cache {format_bytes(need.kv_bytes)}, "
        f"buffers {format_bytes(need.compute_bytes)}, "
        f"the engine itself {format_bytes(need.overhead_bytes)}",
    ]
    if need.approximate:
        reasons.append("the estimate is rough: this kind of model has rules of its own")
    return Verdict(
        fits=False,
        needed_bytes=needed_bytes,
        free_bytes=free_bytes,
        reasons=tuple(reasons),
    )
