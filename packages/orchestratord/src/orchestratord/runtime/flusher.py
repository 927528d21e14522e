"""One short timer for the text of all stored jobs, so that tokens reach the disk in groups."""

import asyncio
from typing import Final, Protocol

__all__ = ["Flushable", "Flusher"]

_DELAY_S: Final = 0.05


class Flushable(Protocol):
    """Somebody with text that is not written yet."""

    def flush(self) -> None:
        """Write it."""
        ...


class Flusher:
    """Armed by the first that has text, then quiet again: nothing polls."""

    def __init__(self, delay_s: float = _DELAY_S) -> None:
        self._delay_s = delay_s
        self._waiting: set[Flushable] = set()
        self._timer: asyncio.TimerHandle | None = None

    def want(self, who: Flushable) -> None:
        """Flush this one with the next group."""
        self._waiting.add(who)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._delay_s, self.flush)

    def flush(self) -> None:
        """Write everything that waits, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, set()
        for who in waiting:
            who.flush()
