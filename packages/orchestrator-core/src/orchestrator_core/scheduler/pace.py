"""Averages of what was seen lately, from the times of the events: runs, loads, endings."""

from typing import Final

__all__ = ["Average", "Beat"]

_NEWEST_SHARE: Final = 0.2


class Average:
    """A moving average of seconds; None until there was a first one."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value: float | None = None

    def add(self, seconds: float) -> None:
        """Take one more into account."""
        old = self.value
        self.value = seconds if old is None else old + _NEWEST_SHARE * (seconds - old)


class Beat:
    """How often something happens: the average time between two."""

    __slots__ = ("_gap", "_last_at")

    def __init__(self) -> None:
        self._gap = Average()
        self._last_at: float | None = None

    def note(self, at: float) -> None:
        """It happened."""
        if self._last_at is not None:
            self._gap.add(at - self._last_at)
        self._last_at = at

    def gap_s(self, at: float) -> float | None:
        """Seconds between two; the time since the last one counts when it is longer already."""
        if self._gap.value is None or self._last_at is None:
            return None
        return max(self._gap.value, at - self._last_at)
