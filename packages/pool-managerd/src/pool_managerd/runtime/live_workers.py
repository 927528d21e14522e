"""The workers of this host as threads see them: those of now, however long ago the thread began.

A model must not be deleted because nobody held it when somebody ordered that.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Final, overload

from orchestrator_core.contracts.pool import WorkerReport

__all__ = ["LiveWorkers"]

_PATIENCE_S: Final = 2.0


class LiveWorkers(Sequence[WorkerReport]):
    """Made on the loop and read in threads; each look asks the loop anew."""

    def __init__(self, ask: Callable[[], Sequence[WorkerReport]]) -> None:
        self._ask = ask
        self._loop = asyncio.get_running_loop()
        self._last = tuple(ask())

    def __iter__(self) -> Iterator[WorkerReport]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    @overload
    def __getitem__(self, index: int) -> WorkerReport: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[WorkerReport]: ...

    def __getitem__(self, index: int | slice) -> WorkerReport | Sequence[WorkerReport]:
        return self._now()[index]

    def _now(self) -> tuple[WorkerReport, ...]:
        if _running_loop() is self._loop:
            # A loop that waited for itself would stand still.
            return tuple(self._ask())
        answer: futures.Future[tuple[WorkerReport, ...]] = futures.Future()

        def tell() -> None:
            answer.set_result(tuple(self._ask()))

        # A loop that has ended starts no worker any more: what it said last stays true.
        with contextlib.suppress(RuntimeError, futures.TimeoutError):
            self._loop.call_soon_threadsafe(tell)
            self._last = answer.result(_PATIENCE_S)
        return self._last


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
