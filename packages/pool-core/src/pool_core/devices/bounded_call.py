"""Makes a blocking call that may hang for ever, and waits for it no longer than agreed.

The call runs in a daemon thread, which keeps no interpreter from ending. While one hangs no second
one is started: the next question finds it still pending and is answered at once.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

__all__ = ["BoundedCall", "StillPending"]

T = TypeVar("T")


class StillPending(Exception):  # noqa: N818 - it names a state, and nothing is wrong with the caller.
    """The call has not come back yet."""


class BoundedCall(Generic[T]):
    """One call at a time of one function."""

    def __init__(self, call: Callable[[], T], timeout_s: float) -> None:
        self._call = call
        self._timeout_s = timeout_s
        self._pending: Future[T] | None = None

    def ask(self) -> T:
        """What the function answers; raises StillPending after the time that was agreed."""
        if self._pending is not None and not self._pending.done():
            raise StillPending
        # What a late call brought back is old by now and is not used.
        pending: Future[T] = Future()
        threading.Thread(target=self._work, args=(pending,), daemon=True).start()
        # Only now: a thread that could not be started would be pending for ever.
        self._pending = pending
        # Not result(timeout): a call that itself failed with a timeout has come back.
        if not wait([pending], self._timeout_s).done:
            raise StillPending
        return pending.result()

    def _work(self, pending: Future[T]) -> None:
        try:
            pending.set_result(self._call())
        except BaseException as error:  # noqa: BLE001 - it is raised again where it was asked for.
            pending.set_exception(error)
