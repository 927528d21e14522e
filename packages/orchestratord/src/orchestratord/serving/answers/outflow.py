"""Bytes on their way to one client: bounded, with one reader and no task of its own.

A live job pushes, the request's handler takes; while nothing waits, a push goes straight to the
client. Above its limit the flow closes the valve of the worker's socket, so that a slow client
costs at most its limit and never a slot.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from orchestrator_core.errors import Refusal
from orchestrator_core.units import KIB, MIB
from orchestratord.runtime.jobs.live import Valve
from orchestratord.serving.answers.head_start import Rest, Step, begin

__all__ = ["FlowBudget", "OutFlow"]

_STREAM_LIMIT_BYTES: Final = 1 * MIB
_TOTAL_LIMIT_BYTES: Final = 256 * MIB
# A client is given its bytes in pieces that also a slow line carries before patience runs out.
_PIECE_BYTES: Final = 64 * KIB


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
        "_budget", "_chunks", "_in_send", "_limit_bytes", "_moved_at", "_send", "_sending",
        "_size_bytes", "_valve", "_waiter", "ended", "head_sent", "refusal", "touched_at",
    )  # fmt: skip

    def __init__(
        self, budget: FlowBudget, now: float, limit_bytes: int = _STREAM_LIMIT_BYTES
    ) -> None:
        self._budget = budget
        self._chunks: list[bytes] = []
        self._in_send = False
        self._moved_at = now
        self._limit_bytes = limit_bytes
        self._size_bytes = 0
        self._valve: Valve | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._send: Callable[[bytes], Step] | None = None
        self._sending: Rest | None = None
        self.ended = False
        self.head_sent = False
        self.refusal: Refusal | None = None
        self.touched_at = now

    def push(self, data: bytes, now: float, valve: Valve | None = None) -> None:
        """Add bytes; with too many waiting, the valve is closed until the client has read."""
        if self.ended or not data:
            return
        self.touched_at = now
        if not (self._chunks or self._in_send):
            # The client has everything that there was: its time to read begins now.
            self._moved_at = now
            if self._send is not None and len(data) <= _PIECE_BYTES:
                self._send_at_once(self._send(data))
                return
        self._chunks.append(data)
        self._size_bytes += len(data)
        self._budget.used_bytes += len(data)
        if valve is not None and (self._size_bytes > self._limit_bytes or self._budget.spent):
            valve.pause()
            self._valve = valve
        self._wake()

    def finish(self, data: bytes, now: float) -> None:
        """Add the last bytes and end; they wait for the handler, who sends the end with them."""
        self._send = None
        self.push(data, now)
        self.end()

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
        else:
            # A whole refusal with its status is worth more than the first words of an answer.
            self._drop()
        self.end(refusal)

    def discard(self) -> None:
        """Drop what waits: the client is gone."""
        self._drop()
        self.end()

    def take(self, now: float) -> bytes:
        """Hand out what waits, not too much at once; sent() must follow."""
        self._in_send = True
        self._moved_at = now
        data = self._next_piece()
        self._size_bytes -= len(data)
        self._budget.used_bytes -= len(data)
        if self._valve is not None and self._size_bytes <= self._limit_bytes // 2:
            self._valve.resume()
            self._valve = None
        return data

    def sent(self, now: float) -> None:
        """The client's side has accepted what was taken."""
        self._in_send = False
        self._moved_at = now

    def stuck_s(self, now: float) -> float:
        """For how long bytes have been waiting for a client that takes none."""
        return now - self._moved_at if self._chunks or self._in_send else 0.0

    @property
    def waiting_bytes(self) -> int:
        """What the client has not taken yet."""
        return self._size_bytes

    def send_by(self, send: Callable[[bytes], Step]) -> None:
        """From now on send at once what is pushed while nothing waits; the handler does the rest."""
        self._send = send

    def _send_at_once(self, step: Step) -> None:
        sending = begin(step)
        if sending is not None:
            self._in_send, self._sending = True, sending
            self._wake()

    async def wait(self) -> None:
        """Return when there is something to take or the flow has ended."""
        while True:
            if self._sending is not None:
                sending, self._sending = self._sending, None
                await sending
                self._in_send = False
            if self._chunks or self.ended:
                return
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _next_piece(self) -> bytes:
        chunks = self._chunks
        if len(chunks) == 1:
            self._chunks = []
            return chunks[0]
        size, count = 0, 0
        while count < len(chunks) and size < _PIECE_BYTES:
            size += len(chunks[count])
            count += 1
        data = b"".join(chunks[:count])
        del chunks[:count]
        return data

    def _drop(self) -> None:
        self._budget.used_bytes -= self._size_bytes
        self._chunks.clear()
        self._size_bytes = 0

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
