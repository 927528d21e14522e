"""Models: look, verify, delete, clean up, import. What takes minutes is told as it goes on."""

from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from orchestrator_core.contracts.model_info import InfoOrder
from orchestrator_core.contracts.models import (
    ActProgress,
    CatalogList,
    CleanUpOrder,
    DeleteOrder,
    ImportOrder,
    ModelList,
    VerifyList,
    VerifyOrder,
)
from orchestrator_core.errors import Refusal
from orchestrator_core.stream import sse
from pool_managerd.api.callers import caller_of, refuse_reference
from pool_managerd.api.discretion import told_to
from pool_managerd.api.event_streams import EventStreams, event, words_of
from pool_managerd.api.replies import envelope, refused, reply
from pool_managerd.runtime.model_desk import LongAct
from pool_managerd.runtime.pool import Pool

__all__ = ["ModelsApi"]

T = TypeVar("T")


class ModelsApi:
    """Answers about the models of this host."""

    def __init__(self, pool: Pool) -> None:
        self._desk = pool.desk
        self._streams = EventStreams("verifications and imports")

    async def list_models(self, request: Request) -> Response:
        """List what is here."""
        items = await self._desk.models()
        if isinstance(items, Refusal):
            return refused(items)
        caller = caller_of(request)
        return reply(ModelList(items=[told_to(caller, item) for item in items]))

    async def catalog(self) -> Response:
        """List what is known by name."""
        items = await self._desk.catalog()
        return refused(items) if isinstance(items, Refusal) else reply(CatalogList(items=items))

    async def info(self, request: Request, order: InfoOrder) -> Response:
        """Say what a model is and where it would fit, downloaded or not."""
        caller = caller_of(request)
        found = refuse_reference(caller, order.model) or await self._desk.info(order)
        return refused(found) if isinstance(found, Refusal) else reply(told_to(caller, found))

    async def disk_usage(self) -> Response:
        """Say what the models take up."""
        return _answer(await self._desk.usage())

    async def delete(self, order: DeleteOrder) -> Response:
        """Delete one model."""
        return _answer(await self._desk.delete(order))

    async def clean_up(self, order: CleanUpOrder) -> Response:
        """Delete what was used longest ago."""
        return _answer(await self._desk.clean_up(order))

    async def verify(self, order: VerifyOrder | None = None) -> Response:
        """Read every byte again, for as long as the caller listens."""
        act = self._streams.refusal or self._desk.verify(order or VerifyOrder())
        return self._follow(act, lambda items: VerifyList(items=items))

    async def take_in(self, order: ImportOrder) -> Response:
        """Take files of this host into the store, for as long as the caller listens."""
        act = self._streams.refusal or self._desk.take_in(order)
        return self._follow(act, lambda items: ModelList(items=items))

    def _follow(self, act: LongAct[T] | Refusal, shape: Callable[[T], BaseModel]) -> Response:
        if isinstance(act, Refusal):
            return refused(act)
        return self._streams.answer(_words(act, shape), on_close=act.cancel.set)


def _answer(result: BaseModel | Refusal) -> Response:
    return refused(result) if isinstance(result, Refusal) else reply(result)


async def _words(act: LongAct[T], shape: Callable[[T], BaseModel]) -> AsyncIterator[bytes]:
    async for piece in words_of(act.news, _progress):
        yield piece
    yield _last_word(act.outcome, shape)


def _progress(progress: ActProgress | None) -> bytes:
    return sse.comment() if progress is None else event("progress", progress)


def _last_word(outcome: T | Refusal | None, shape: Callable[[T], BaseModel]) -> bytes:
    if outcome is None:
        raise AssertionError("an act that is over has an outcome")
    if isinstance(outcome, Refusal):
        return event("error", envelope(outcome))
    return event("end", shape(outcome))
