"""Exit watches of every adapter: on a descriptor that tells the end, or of a process that is gone.

Both call back on the running loop, exactly once, and never after close().
"""

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ["DescriptorWatch", "GoneWatch"]

_SETTLE_S: Final = 0.01


def _at_once() -> bool:
    return True


class DescriptorWatch:
    """Waits for a descriptor to become readable; from then on it owns the descriptor."""

    def __init__(
        self,
        fd: int,
        callback: Callable[[], None],
        *,
        release: Callable[[], None],
        is_over: Callable[[], bool] = _at_once,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._fd: int | None = fd
        self._callback = callback
        self._release = release
        self._is_over = is_over
        self._timer: asyncio.TimerHandle | None = None
        self._loop.add_reader(fd, self._noticed)

    def close(self) -> None:
        """Stop waiting and give the descriptor back."""
        if self._timer is not None:
            self._timer.cancel()
        self._let_go()

    def _noticed(self) -> None:
        self._let_go()
        self._settle()

    def _settle(self) -> None:
        # A kernel may announce an end shortly before it is complete, and a process that is still
        # going could not be reaped. The end is certain by then, so asking again comes to an end.
        if self._is_over():
            self._callback()
        else:
            self._timer = self._loop.call_later(_SETTLE_S, self._settle)

    def _let_go(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._loop.remove_reader(fd)
            self._release()


class GoneWatch:
    """The watch of a process that had ended before it began."""

    def __init__(self, callback: Callable[[], None]) -> None:
        # The caller must see its watch before the callback, as with a live process.
        self._handle = asyncio.get_running_loop().call_soon(callback)

    def close(self) -> None:
        """Call nobody back."""
        self._handle.cancel()
