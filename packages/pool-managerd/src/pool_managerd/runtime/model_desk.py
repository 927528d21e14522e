"""Carries out what is asked about the models of this host, in threads that starve nobody else.

Short questions have threads of their own, so that none waits behind a verification of minutes.
A long act tells how far it is and ends early when whoever ordered it has left.
"""

import asyncio
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Generic, Protocol, TypeVar

from orchestrator_core.contracts.model_info import InfoOrder, ModelInfo
from orchestrator_core.contracts.models import (
    ActProgress,
    CatalogItem,
    CleanUpOrder,
    CleanUpReport,
    DeleteOrder,
    DeleteReport,
    DiskUsage,
    ImportOrder,
    StoredModel,
    VerifyOrder,
    VerifyReport,
)
from orchestrator_core.contracts.pool import DeviceReport, WorkerReport
from orchestrator_core.errors import Code, Refusal
from pool_managerd.runtime.crew import Crew, outcome_of
from pool_managerd.runtime.latest import Latest
from pool_managerd.runtime.live_workers import LiveWorkers
from pool_managerd.runtime.ports import Cancel, ModelLibrary, Tell

__all__ = ["LongAct", "ModelDesk"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_SHORT_AT_ONCE: Final = 4
_SHORT_WAITING_MAX: Final = 32
_HUB_AT_ONCE: Final = 4
_HUB_WAITING_MAX: Final = 16
_LONG_AT_ONCE: Final = 2


class _Work(Protocol[T_co]):
    def __call__(self, *, tell: Tell, cancel: Cancel) -> T_co | Refusal: ...


class LongAct(Generic[T]):
    """One long act; the news end when the outcome is there."""

    def __init__(self) -> None:
        self.cancel = threading.Event()
        self.news: Latest[ActProgress | None] = Latest(None)
        self.outcome: T | Refusal | None = None

    def tell(self, what: str, done_bytes: int, total_bytes: int) -> None:
        """Say from the thread how far it is."""
        progress = ActProgress(what=what, done_bytes=done_bytes, total_bytes=total_bytes)
        self.news.post(progress)

    def end(self, outcome: T | Refusal) -> None:
        """Settle it; the first outcome stays."""
        if not self.news.is_final:
            self.outcome = outcome
            self.news.finish(self.news.value)


class ModelDesk:
    """All questions and orders about models, downloads excepted."""

    def __init__(
        self,
        library: ModelLibrary,
        *,
        workers: Callable[[], Sequence[WorkerReport]],
        devices: Callable[[], Sequence[DeviceReport]],
        on_change: Callable[[], None],
    ) -> None:
        self._library = library
        self._workers = workers
        self._devices = devices
        self._on_change = on_change
        self._short = Crew(
            "questions about models", size=_SHORT_AT_ONCE, waiting_max=_SHORT_WAITING_MAX
        )
        # A hub that is silent must not keep anybody from the models that are here.
        self._hub = Crew("questions to a hub", size=_HUB_AT_ONCE, waiting_max=_HUB_WAITING_MAX)
        # A second one in line would show its caller nothing for minutes: it is told to come again.
        self._long = Crew("verifications and imports", size=_LONG_AT_ONCE, waiting_max=0)
        self._acts: set[LongAct[Any]] = set()

    async def models(self) -> list[StoredModel] | Refusal:
        """What is here."""
        workers = self._workers()
        return await self._ask("reading the models", lambda: self._library.models(workers))

    async def catalog(self) -> list[CatalogItem] | Refusal:
        """What is known by name."""
        return await self._ask("reading the catalogue", self._library.catalog)

    async def info(self, order: InfoOrder) -> ModelInfo | Refusal:
        """What a model is, and where it would fit."""
        devices = self._devices()
        return await self._ask(
            f"looking at {order.model}", lambda: self._library.info(order, devices), self._hub
        )

    async def usage(self) -> DiskUsage | Refusal:
        """What everything takes up."""
        workers = self._workers()
        return await self._ask("measuring the models", lambda: self._library.usage(workers))

    async def delete(self, order: DeleteOrder) -> DeleteReport | Refusal:
        """Delete one model."""
        workers = LiveWorkers(self._workers)
        return self._told(
            await self._ask(f"deleting {order.model}", lambda: self._library.delete(order, workers))
        )

    async def clean_up(self, order: CleanUpOrder) -> CleanUpReport | Refusal:
        """Delete what was used longest ago."""
        workers = LiveWorkers(self._workers)
        return self._told(
            await self._ask("cleaning up", lambda: self._library.clean_up(order, workers))
        )

    def verify(self, order: VerifyOrder) -> LongAct[list[VerifyReport]] | Refusal:
        """Begin to read every byte again."""
        act: LongAct[list[VerifyReport]] = LongAct()
        return self._begin(act, partial(self._library.verify, order), "the verification")

    def take_in(self, order: ImportOrder) -> LongAct[list[StoredModel]] | Refusal:
        """Begin to take files of this host into the store."""
        act: LongAct[list[StoredModel]] = LongAct()
        return self._begin(act, partial(self._library.take_in, order), "the import")

    def begin_stop(self) -> None:
        """Cancel every long act; whoever follows one hears why at once."""
        for act in tuple(self._acts):
            act.cancel.set()
            act.end(Refusal(Code.DRAINING, "pool-managerd stops; repeat the order then"))

    async def rest(self, timeout_s: float) -> bool:
        """Wait until no thread is at work; False when one does not heed its cancelling in time."""
        crews = (self._long, self._hub, self._short)
        return all(await asyncio.gather(*(crew.rest(timeout_s) for crew in crews)))

    async def _ask(
        self, what: str, work: Callable[[], T | Refusal], crew: Crew | None = None
    ) -> T | Refusal:
        future = (crew or self._short).start(work)
        if isinstance(future, Refusal):
            return future
        # A caller that leaves does not undo what a thread has begun.
        await asyncio.wait({future})
        return outcome_of(future, what)

    def _told(self, result: T | Refusal) -> T | Refusal:
        """Pass a result on after telling that models have changed; a refusal changed nothing."""
        if not isinstance(result, Refusal):
            self._on_change()
        return result

    def _begin(self, act: LongAct[T], work: _Work[T], what: str) -> LongAct[T] | Refusal:
        future = self._long.start(lambda: work(tell=act.tell, cancel=act.cancel))
        if isinstance(future, Refusal):
            return future
        self._acts.add(act)
        future.add_done_callback(lambda it: self._end(act, outcome_of(it, what)))
        return act

    def _end(self, act: LongAct[T], outcome: T | Refusal) -> None:
        self._acts.discard(act)
        # What was found damaged is no longer offered, and what was taken in is.
        act.end(self._told(outcome))
