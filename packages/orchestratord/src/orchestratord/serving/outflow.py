"""Bytes on their way to one client: bounded, with one reader and no task of its own.

A live job pushes, the request's handler takes. Above its limit the flow closes the valve of the
worker's socket, so that a slow client costs at most its limit and never a slot.
"""

import asyncio
from typing import Final

from orchestrator_core.errors import Refusal
from orchestrator_core.units import MIB
from orchestratord.runtime.live import Valve

__all__ = ["FlowBudget", "OutFlow"]

_STREAM_LIMIT_BYTES: Final = 1 * MIB
_TOTAL_LIMIT_BYTES: Final = 256 * MIB


class FlowBudget:
    """What all flows of the daemon hold together."""

    def __init__(self, limit_bytes: int = _TOTAL_LIMIT_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    @property
    def spent(self) -> bool:
        """True when nothing more should be buffered."""
        return self.used_bytes > self.limit_bytes


class OutFlow:
    """The buffer between a worker's socket and a client's."""

    __slots__ = (
        "_budget", "_chunks", "_limit_bytes", "_size_bytes", "_valve", "_waiter",
        "ended", "head_sent", "refusal", "taken_at", "touched_at",
    )  # fmt: skip

    def __init__(
        self, budget: FlowBudget, now: float, limit_bytes: int = _STREAM_LIMIT_BYTES
    ) -> None:
        self._budget = budget
        self._chunks: list[bytes] = []
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._valve: Valve | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.ended = False
        self.head_sent = False
        self.refusal: Refusal | None = None
        self.touched_at = now
        self.taken_at = now

    def push(self, data: bytes, now: float, valve: Valve | None = None) -> None:
        """Add bytes; with too many waiting, the valve is closed until the client has read."""
        if self.ended or not data:
            return
        self._chunks.append(data)
        self._size_bytes += len(data)
        self._budget.used_bytes += len(data)
        self.touched_at = now
        if valve is not None and (self._size_bytes > self._limit_bytes or self._budget.spent):
            valve.pause()
            self._valve = valve
        self._wake()

    def end(self, refusal: Refusal | None = None) -> None:
        """Nothing follows; a refusal says why there is no good end."""
        if not self.ended:
            self.ended = True
            self.refusal = refusal
            self._wake()

    def refuse(self, refusal: Refusal, frame: bytes, now: float) -> None:
        """End badly: as a status while no head is sent, else by a frame inside the stream."""
        if self.ended:
            return
        if self.head_sent:
            self.push(frame, now)
        self.end(refusal)

    def discard(self) -> None:
        """Drop what waits: the client is gone."""
        self._budget.used_bytes -= self._size_bytes
        self._chunks.clear()
        self._size_bytes = 0
        self.end()

    def take(self, now: float) -> bytes:
        """Hand out all that waits as one piece."""
        chunks = self._chunks
        if not chunks:
            return b""
        data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        self._chunks = []
        self._budget.used_bytes -= self._size_bytes
        self._size_bytes = 0
        self.taken_at = now
        if self._valve is not None:
            self._valve.resume()
            self._valve = None
        return data

    @property
    def waiting_bytes(self) -> int:
        """What the client has not taken yet."""
        return self._size_bytes

    async def wait(self) -> None:
        """Return when there is something to take or the flow has ended."""
        if self._chunks or self.ended:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
