"""Runs blocking work in threads of its own, so many at once, and hands the answers to the loop.

A thread that hangs (a dead disk, a silent hub) keeps one place of its own crew and nothing else:
the survey of workers has other threads, and the daemon's exit waits for none of them.
"""

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Generic, TypeVar

import structlog

from orchestrator_core.errors import Code, Refusal, error_for
from pool_managerd.runtime.faults import explain_fault

__all__ = ["Crew", "outcome_of"]

T = TypeVar("T")

_log: Final = structlog.stdlib.get_logger()


def outcome_of(future: asyncio.Future[T | Refusal], what: str) -> T | Refusal:
    """What became of work that is over; what nobody foresaw is logged and told in one line."""
    if future.cancelled():
        return Refusal(Code.CANCELLED, f"{what} was cancelled")
    error = future.exception()
    if error is None:
        return future.result()
    refusal = explain_fault(error, what)
    if refusal.code is Code.INTERNAL:
        _log.error("pool.work_failed", what=what, exc_info=error)
    return refusal


class _Task(Generic[T]):
    """One piece of work; its answer arrives on the loop, whoever still waits for it."""

    def __init__(self, work: Callable[[], T], on_turn: Callable[[], None]) -> None:
        self._work = work
        self.on_turn = on_turn
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[T] = self._loop.create_future()

    def do(self, ended: Callable[[], None]) -> None:
        """Work, in a thread, and tell the loop."""
        settle: Callable[[], None]
        try:
            settle = partial(self.future.set_result, self._work())
        except Exception as error:  # noqa: BLE001 - the thread's edge: whoever waits judges it.
            settle = partial(self.future.set_exception, error)
        # The loop is closed when the work went on past the daemon's end; nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, settle, ended)

    def _settle(self, settle: Callable[[], None], ended: Callable[[], None]) -> None:
        if not self.future.done():
            settle()
        ended()


class Crew:
    """A bounded number of threads before which only so much may wait; lives on one loop."""

    def __init__(self, name: str, *, size: int, waiting_max: int) -> None:
        self._name = name
        self._size = size
        self._waiting_max = waiting_max
        self._waiting: deque[_Task[Any]] = deque()
        self._at_work = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def start(
        self, work: Callable[[], T], *, on_turn: Callable[[], None] = lambda: None
    ) -> asyncio.Future[T] | Refusal:
        """Begin at once or in turn; RATE when too much waits already.

        on_turn is called on the loop just before the thread starts. Work whose future is cancelled
        before its turn is never done.
        """
        self._waiting = deque(task for task in self._waiting if not task.future.done())
        if self._at_work >= self._size and len(self._waiting) >= self._waiting_max:
            text = f"too many {self._name} at once; try again in a while"
            return Refusal(Code.RATE, text, retry_after_s=5)
        task = _Task(work, on_turn)
        self._waiting.append(task)
        self._go_on()
        return task.future

    async def rest(self, timeout_s: float) -> bool:
        """Wait until no thread is at work; False when the time is over first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        return self._idle.is_set()

    def _go_on(self) -> None:
        while self._waiting and self._at_work < self._size:
            task = self._waiting.popleft()
            if not task.future.done():
                self._begin(task)

    def _begin(self, task: _Task[Any]) -> None:
        task.on_turn()
        # An executor's thread would keep the interpreter from exiting while its work hangs.
        thread = threading.Thread(target=task.do, args=(self._ended,), name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:
            text = "this host has no thread left; try again in a while"
            task.future.set_exception(error_for(Refusal(Code.NO_CAPACITY, text)))
            return
        self._at_work += 1
        self._idle.clear()

    def _ended(self) -> None:
        self._at_work -= 1
        if self._at_work == 0:
            self._idle.set()
        self._go_on()
