"""The committed events of one live job, as the frames that readers are sent.

Filled only after a COMMIT, so live readers and replays see the same bytes. Readers keep a cursor
and share this log; one that falls behind its window reads the store instead, so that the windows
may be small where all of them together are too large.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from orchestrator_core.contracts.tasks import EventKind
from orchestrator_core.stream import sse
from orchestrator_core.units import KIB, MIB

__all__ = ["JobLog", "LogBudget", "event_frame", "is_terminal"]

_WINDOW_BYTES: Final = 1 * MIB
# For readers who are only a moment behind.
_LEAST_BYTES: Final = 16 * KIB
_TOTAL_LIMIT_BYTES: Final = 64 * MIB
_TERMINAL: Final = frozenset({EventKind.END, EventKind.ERROR})


def event_frame(seq: int, kind: EventKind, data: str) -> bytes:
    """The one rendering of a stored event, live or replayed."""
    return sse.encode(event=kind.value, data=data, id=seq)


def is_terminal(kind: EventKind) -> bool:
    """True for the event that ends a job's stream."""
    return kind in _TERMINAL


class LogBudget:
    """What the logs of all live jobs hold together."""

    def __init__(self, limit_bytes: int = _TOTAL_LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    @property
    def window_bytes(self) -> int:
        """How large the window of a log that grows may be now."""
        return _LEAST_BYTES if self.used_bytes > self.limit_bytes else _WINDOW_BYTES


class JobLog:
    """A window on a job's newest events."""

    def __init__(self, last_seq: int, budget: LogBudget | None = None) -> None:
        self.last_seq = last_seq
        self.ended = False
        self._budget = budget or LogBudget()
        self._is_live = True
        self._first_seq = last_seq + 1
        self._frames: list[bytes] = []
        self._size_bytes = 0
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def is_whole(self) -> bool:
        """True while every event of the job is here."""
        return self._first_seq == 1

    @property
    def size_bytes(self) -> int:
        """How much its frames take up."""
        return self._size_bytes

    def commit(self, seq: int, kind: EventKind, data: str) -> None:
        """Show an event that is on disk now."""
        frame = event_frame(seq, kind, data)
        self._frames.append(frame)
        self._grow(len(frame))
        self.last_seq = seq
        self.ended = self.ended or is_terminal(kind)
        self._trim(self._budget.window_bytes)
        self.wake()

    def after(self, seq: int) -> Sequence[bytes] | None:
        """The frames behind an event; None when the window begins later."""
        if seq + 1 < self._first_seq:
            return None
        return self._frames[seq + 1 - self._first_seq :]

    async def woken(self) -> None:
        """Return when somebody wakes the readers."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    async def finished(self) -> None:
        """Return when the terminal event is on disk."""
        while not self.ended:
            await self.woken()

    def wake(self) -> None:
        """Let every reader look again: new events, a keep-alive is due, or the daemon stops."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def release(self) -> None:
        """The job is not live any more: keep only what its readers are about to be sent."""
        self._trim(_LEAST_BYTES)
        self._budget.used_bytes -= self._size_bytes
        self._is_live = False

    def _trim(self, window_bytes: int) -> None:
        drop, size_bytes = 0, self._size_bytes
        while size_bytes > window_bytes and drop < len(self._frames) - 1:
            size_bytes -= len(self._frames[drop])
            drop += 1
        if drop:
            del self._frames[:drop]
            self._first_seq += drop
            self._grow(size_bytes - self._size_bytes)

    def _grow(self, change_bytes: int) -> None:
        self._size_bytes += change_bytes
        if self._is_live:
            self._budget.used_bytes += change_bytes
