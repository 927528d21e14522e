"""Hands the outcomes of writes to their waiters, on the event loop and in order."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from orchestrator_core.errors import LlorchError
from orchestratord.store.port import OnCommit, Outcome
from orchestratord.store.writes import Write

__all__ = ["Entry", "settle", "tell_applied"]


@dataclass(slots=True)
class Entry:
    """A write on its way, with whoever waits for it."""

    write: Write
    future: asyncio.Future[int] | None = None
    on_commit: OnCommit | None = None


def settle(loop: asyncio.AbstractEventLoop, entry: Entry, outcome: Outcome) -> None:
    """Give one outcome to its waiter; a failure that nobody waits for is reported by the loop."""
    future = entry.future
    if future is not None:
        if future.done():
            return
        if isinstance(outcome, LlorchError):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
    elif entry.on_commit is not None:
        # By call_soon, as futures do it: all outcomes keep their order, and one callback that
        # raises takes no other with it.
        loop.call_soon(entry.on_commit, outcome)
    elif isinstance(outcome, LlorchError):
        message = f"a {type(entry.write).__name__} that nobody waited for failed"
        loop.call_exception_handler({"message": message, "exception": outcome})


def tell_applied(told: Callable[[Write], None], write: Write, future: asyncio.Future[int]) -> None:
    """Tell of an awaited write that is durable and has changed something."""
    if not future.cancelled() and future.exception() is None and future.result():
        told(write)
