"""Decides whether a disk has room for what is still to come, with a reserve: pure."""

from dataclasses import dataclass

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import GIB, format_bytes

__all__ = ["Reserve", "judge_room"]


@dataclass(frozen=True, slots=True)
class Reserve:
    """What has to stay free: so many bytes, or that share of the file where it is more."""

    min_bytes: int = GIB
    share: float = 0.02

    def of(self, size_bytes: int) -> int:
        """The reserve beside a file of this size."""
        return max(self.min_bytes, int(size_bytes * self.share))


def judge_room(
    path: str, *, size_bytes: int, missing_bytes: int, free_bytes: int, reserve: Reserve
) -> Refusal | None:
    """Refuse a file whose missing bytes would eat into the reserve."""
    lacking = missing_bytes + reserve.of(size_bytes) - free_bytes
    if lacking <= 0:
        return None
    line = f"{path} needs {format_bytes(missing_bytes)} more and {format_bytes(free_bytes)} are"
    line += f" free: make room for another {format_bytes(lacking)}, or add --make-room"
    return Refusal(Code.DISK_LOW, line, {"lacking_bytes": lacking})
