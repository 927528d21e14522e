"""Writes what a host sends to our own stdout or stderr without holding up the connection.

A reader that stalls (a pager, a full pipe) must not keep us from our signs of life to the host, so
a thread writes. What waits is bounded: once it is much, the host is asked to wait as well.
"""

import asyncio
import collections
import contextlib
import threading
from collections.abc import Callable
from typing import Final

__all__ = ["Outlet"]

_MUCH_BYTES: Final = 1 << 20


class Outlet:
    """One stream of an event loop; room is cleared while too much is waiting.

    broken is called in the loop, once, when nobody reads any more.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        *,
        room: asyncio.Event,
        broken: Callable[[], None],
    ) -> None:
        self._write: Final = write
        self._room: Final = room
        self._broken: Final = broken
        self._loop: Final = asyncio.get_running_loop()
        self._over: Final = asyncio.Event()
        self._parts: collections.deque[bytes] = collections.deque()
        self._size_bytes = 0
        self._is_full = False
        self._closing = False
        self._turn: Final = threading.Condition()
        self.error: OSError | None = None
        # A thread that waits for somebody who never reads must not keep us alive.
        threading.Thread(target=self._pour, daemon=True).start()

    def put(self, data: bytes) -> None:
        """Take bytes; they are written in this order."""
        with self._turn:
            if self.error is not None:
                return
            self._parts.append(data)
            self._size_bytes += len(data)
            if self._size_bytes >= _MUCH_BYTES:
                self._is_full = True
                self._room.clear()
            self._turn.notify_all()

    async def finish(self) -> None:
        """Write the rest; returns when it is written or nobody takes it."""
        with self._turn:
            self._closing = True
            self._turn.notify_all()
        await self._over.wait()

    def _pour(self) -> None:
        try:
            while (data := self._next()) is not None:
                self._write(data)
        except OSError as error:
            with self._turn:
                self.error = error
                self._parts.clear()
            self._tell(self._broken)
        self._tell(self._room.set)
        self._tell(self._over.set)

    def _next(self) -> bytes | None:
        with self._turn:
            self._turn.wait_for(lambda: self._parts or self._closing)
            data = b"".join(self._parts)
            self._parts.clear()
            self._size_bytes = 0
            if self._is_full:
                self._is_full = False
                self._tell(self._room.set)
            return data or None

    def _tell(self, call: Callable[[], object]) -> None:
        # Whoever has left has closed the loop, and wants to know nothing any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)
