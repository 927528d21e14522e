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
    """The answer; needed_bytes is with the margin, and reasons are there where it does not fit.

    least_bytes is what is needed in any case, with the margin too; a rough estimate may be too high.
    """

    fits: bool
    needed_bytes: int
    free_bytes: int
    least_bytes: int
    reasons: tuple[str, ...] = ()

    @property
    def may_fit(self) -> bool:
        """True where only the doubt of a rough estimate speaks against a start."""
        return self.least_bytes <= self.free_bytes


def judge(need: Need, *, free_bytes: int, margin: float = MARGIN) -> Verdict:
    """Compare a need with the memory that is free."""
    needed_bytes = _with(margin, need.total_bytes)
    least_bytes = _with(margin, need.sure_bytes)
    if needed_bytes <= free_bytes:
        return Verdict(True, needed_bytes, free_bytes, least_bytes)
    reasons = [
        f"it needs {format_bytes(needed_bytes)} with a margin of {margin:.0%}, "
        f"but {format_bytes(max(free_bytes, 0))} are free",
        f"weights {format_bytes(need.weights_bytes)}, cache {format_bytes(need.kv_bytes)}, "
        f"{_state(need)}buffers {format_bytes(need.compute_bytes)}, "
        f"the engine itself {format_bytes(need.overhead_bytes)}",
    ]
    if need.approximate:
        reasons.append(f"the estimate is rough: {_doubt(need)}")
    if least_bytes <= free_bytes:
        reasons.append(
            f"it is started all the same: {format_bytes(least_bytes)} are needed at least"
        )
    return Verdict(False, needed_bytes, free_bytes, least_bytes, tuple(reasons))


def _with(margin: float, size_bytes: int) -> int:
    return size_bytes + round(size_bytes * margin)


def _doubt(need: Need) -> str:
    if need.guessed_bytes:
        return "only the first part of the model was looked at"
    return "this kind of model has rules of its own"


def _state(need: Need) -> str:
    return f"state {format_bytes(need.state_bytes)}, " if need.state_bytes else ""
