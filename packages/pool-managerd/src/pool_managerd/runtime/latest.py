"""The newest word of a thread, for any number of readers on the loop: latest wins.

The thread is never blocked and never queues more than one call to the loop; a slow reader misses
what lay between, and never the last word.
"""

import asyncio
import contextlib
import threading
from typing import Final, Generic, TypeVar

__all__ = ["Latest"]

T = TypeVar("T")


class Latest(Generic[T]):
    """A value that changes until it is final; made and read on the loop."""

    def __init__(self, first: T) -> None:
        self._loop: Final = asyncio.get_running_loop()
        self._lock: Final = threading.Lock()
        self._posted: list[T] = []
        self._changed = asyncio.Event()
        self.value = first
        self.version = 1
        self.finished = asyncio.Event()

    @property
    def is_final(self) -> bool:
        """True when nothing more will come."""
        return self.finished.is_set()

    def post(self, value: T) -> None:
        """Say it from a thread; what the loop has not taken yet is replaced."""
        with self._lock:
            is_awaited = bool(self._posted)
            self._posted = [value]
        if not is_awaited:
            # The loop is closed when a thread speaks past the daemon's end.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._take_posted)

    def put(self, value: T) -> None:
        """Say it on the loop."""
        if not self.is_final:
            self._set(value)

    def finish(self, value: T) -> None:
        """Say the last word; whatever comes later is not heard."""
        if not self.is_final:
            self.finished.set()
            self._set(value)

    async def after(self, version: int, *, timeout_s: float) -> bool:
        """Wait for another version than this one; False when the time is over first."""
        try:
            async with asyncio.timeout(timeout_s):
                while self.version == version:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _take_posted(self) -> None:
        with self._lock:
            values, self._posted = self._posted, []
        for value in values:
            self.put(value)

    def _set(self, value: T) -> None:
        self.value = value
        self.version += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
