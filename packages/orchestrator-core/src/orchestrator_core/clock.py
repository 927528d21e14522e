"""The only place that reads the time. Records use UTC, deadlines use a clock that counts sleep."""

import sys
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


# The clock that counts sleep has another name on each system, and Linux knows both names.
_NAME: Final = "CLOCK_MONOTONIC_RAW" if sys.platform == "darwin" else "CLOCK_BOOTTIME"
_SLEEP_COUNTING: Final[int | None] = getattr(time, _NAME, None)


class SystemClock:
    """The machine's own clocks."""

    def unix_ms(self) -> int:
        """Milliseconds since the epoch."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """The clock that counts sleep where there is one, else the plain monotonic clock."""
        if _SLEEP_COUNTING is None:
            return time.monotonic()
        return time.clock_gettime(_SLEEP_COUNTING)


def rfc3339(unix_ms: int) -> str:
    """Spell a record's time for the wire, in UTC with milliseconds."""
    moment = datetime.fromtimestamp(unix_ms / 1000, tz=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
