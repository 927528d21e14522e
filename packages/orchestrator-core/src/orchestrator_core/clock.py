"""The only place that reads the time. Records use UTC, deadlines use a clock that counts sleep."""

import time
from datetime import UTC, datetime
from typing import Final, Protocol

__all__ = ["Clock", "SystemClock", "rfc3339"]


class Clock(Protocol):
    """What the shells around the decisions ask for the time."""

    def unix_ms(self) -> int:
        """Milliseconds since the epoch, for records and ids."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back and go on while the machine sleeps."""
        ...


# CLOCK_BOOTTIME counts sleep; a system without it has the plain monotonic clock.
_SLEEP_COUNTING: Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


class SystemClock:
    """The machine's own clocks."""

    def unix_ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """CLOCK_BOOTTIME where it exists, else the plain monotonic clock."""
        if _SLEEP_COUNTING is None:
            return time.monotonic()
        return time.clock_gettime(_SLEEP_COUNTING)


def rfc3339(unix_ms: int) -> str:
    """Spell a record's time for the wire, in UTC with milliseconds."""
    moment = datetime.fromtimestamp(unix_ms / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
