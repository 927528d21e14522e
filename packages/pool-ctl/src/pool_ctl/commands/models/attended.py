"""Carries a long act out beside the thread that hears Ctrl-C, so that one word ends it cleanly."""

import threading
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from pool_ctl.pools.models.cancel import Cancellation

__all__ = ["attend"]

T = TypeVar("T")

# An act hears the word between two reads; a connection that is silent may take longer, and is left.
_PATIENCE_S: Final = 10.0


class _Act(Generic[T]):
    """One act in its thread, and what came of it."""

    def __init__(self, act: Callable[[Cancellation], T]) -> None:
        self._act = act
        self.cancel = Cancellation()
        self.has_ended = threading.Event()
        self._result: list[T] = []
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self._result.append(self._act(self.cancel))
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for the act.
            self._error = error
        finally:
            self.has_ended.set()

    def outcome(self) -> T:
        if self._error is not None:
            raise self._error
        return self._result[0]


def attend(
    act: Callable[[Cancellation], T],
    *,
    say: Callable[[str], None],
    patience_s: float = _PATIENCE_S,
) -> T:
    """Wait for an act; Ctrl-C cancels it and waits a little, a second one leaves it at once.

    Nothing is lost by leaving: whatever was written is made to survive the end of a process.
    """
    running = _Act(act)
    thread = threading.Thread(target=running.run, name="llorch-act", daemon=True)
    try:
        thread.start()
        running.has_ended.wait()
    except KeyboardInterrupt:
        say("cancelling ...")
        running.cancel.set()
        running.has_ended.wait(patience_s)
        raise
    thread.join()
    return running.outcome()
