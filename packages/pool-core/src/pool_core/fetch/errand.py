"""A blocking piece of work that can be left: whoever asked goes on, and its thread ends later.

A name that nobody answers for, a connection or a read cannot be broken off from outside, and to
close a socket under its reader may hand the reader another one: so the reader is left to itself.
"""

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["Errand", "LeftError", "Stop"]

T = TypeVar("T")
Stop = Callable[[], bool]
"""Says whether whoever asked does not want to wait any more."""

_LOOK_AGAIN_S: Final = 0.1


class LeftError(Exception):
    """The work was left: it goes on without anybody who waits for it."""


class Errand(Generic[T]):
    """Work for a thread of its own; too_late gets what came after it was left, None for a fault."""

    def __init__(self, work: Callable[[], T], *, too_late: Callable[[T | None], None]) -> None:
        self._work = work
        self._too_late = too_late
        self._lock = threading.Lock()
        self._has_ended = threading.Event()
        self._is_left = False
        self._results: list[T] = []
        self._error: Exception | None = None

    def outcome(self, stop: Stop, *, leave: Callable[[], None]) -> T:
        """Do the work; raises LeftError soon after stop says so, and calls leave just before."""
        threading.Thread(target=self._run, name="llorch-errand", daemon=True).start()
        while not self._has_ended.wait(_LOOK_AGAIN_S):
            if stop() and self._leave(leave):
                raise LeftError
        if self._error is not None:
            raise self._error
        return self._results[0]

    def _leave(self, leave: Callable[[], None]) -> bool:
        with self._lock:
            if self._has_ended.is_set():
                return False
            leave()
            self._is_left = True
            return True

    def _run(self) -> None:
        results: list[T] = []
        error: Exception | None = None
        try:
            results.append(self._work())
        except Exception as fault:  # noqa: BLE001 - raised again by whoever waits.
            error = fault
        with self._lock:
            if not self._is_left:
                self._results, self._error = results, error
                self._has_ended.set()
                return
        self._too_late(results[0] if results else None)
