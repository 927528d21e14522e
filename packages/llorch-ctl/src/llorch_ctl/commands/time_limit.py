"""Bounds how long a command waits, whatever it waits for just then: an alarm of this process."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

__all__ = ["TimeIsUp", "time_limit"]


class TimeIsUp(Exception):  # noqa: N818 - an expected end, not an error.
    """The time that the caller granted has passed."""


@contextmanager
def time_limit(seconds: float | None) -> Generator[None]:
    """Raise TimeIsUp inside the block once it has taken so long; None grants any time."""
    if seconds is None:
        yield
        return
    former = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def _ring(_number: int, _frame: FrameType | None) -> None:
    raise TimeIsUp
