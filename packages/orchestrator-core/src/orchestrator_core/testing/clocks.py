"""Time that only moves when a test says so."""

from orchestrator_core.clock import Clock

__all__ = ["FakeClock"]


class FakeClock(Clock):
    """A clock that stands still between calls of advance."""

    def __init__(self, unix_ms: int = 1_700_000_000_000, monotonic_s: float = 1000.0) -> None:
        self._unix_ms = unix_ms
        self._monotonic_s = monotonic_s

    def unix_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self._unix_ms

    def monotonic_s(self) -> float:
        """Seconds since some moment."""
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self._monotonic_s += seconds
        self._unix_ms += round(seconds * 1000)
