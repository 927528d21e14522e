"""The one place where a test waits for a condition that has no signal of its own.

A condition is polled until it holds; past its deadline the test fails and says what it waited
for. Nothing else in tests/ sleeps, and no test asserts how long anything took.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

__all__ = ["until", "until_sync"]

T = TypeVar("T")

_INTERVAL_S = 0.01


def _failure(what: str, timeout_s: float, last: object) -> AssertionError:
    return AssertionError(f"waited {timeout_s:g} s for {what}; the last answer was {last!r}")


async def until(
    predicate: Callable[[], T | Awaitable[T]],
    *,
    timeout_s: float = 10.0,
    what: str = "a condition",
    every_s: float = _INTERVAL_S,
) -> T:
    """Wait without blocking the loop until the predicate is truthy, and return what it said."""
    deadline = time.monotonic() + timeout_s
    while True:
        answer = predicate()
        value = cast("T", await answer if inspect.isawaitable(answer) else answer)
        if value:
            return value
        if time.monotonic() >= deadline:
            raise _failure(what, timeout_s, value)
        await asyncio.sleep(every_s)


def until_sync(
    predicate: Callable[[], T],
    *,
    timeout_s: float = 10.0,
    what: str = "a condition",
    every_s: float = _INTERVAL_S,
) -> T:
    """Wait in a test without a loop until the predicate is truthy, and return what it said."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise _failure(what, timeout_s, value)
        time.sleep(every_s)
