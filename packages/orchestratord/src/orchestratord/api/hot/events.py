"""GET /v2/tasks/{id}/events: the stream of a durable job, live or replayed, from any point on.

A thousand of them may be open and silent, so that none has more than the task of its request.
"""

import asyncio
from typing import Final

import structlog

from orchestrator_core import ids
from orchestrator_core.clock import Clock
from orchestrator_core.errors import Code, LlorchError, Refusal
from orchestrator_core.ids import JobId, KeyId
from orchestrator_core.scheduler.events import CancelRequested
from orchestratord.api.request import Request, header
from orchestratord.runtime.loop import Loop
from orchestratord.serving.answers.event_readers import EventReader, EventReaders
from orchestratord.serving.answers.head_start import Aside
from orchestratord.serving.answers.patience import run_out
from orchestratord.store.port import JobStore
from orchestratord.store.rows import ACTIVE_STATUSES
from orchestratord.store.writes import RequestCancel

__all__ = ["EventsHandler"]

_log: Final = structlog.stdlib.get_logger()

_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


class EventsHandler:
    """Streams a job's events from any point on."""

    def __init__(self, *, store: JobStore, readers: EventReaders, loop: Loop, clock: Clock) -> None:
        self._store = store
        self._readers = readers
        self._loop = loop
        self._clock = clock

    async def __call__(self, request: Request) -> None:
        """Serve one reader."""
        job_id = JobId(request.params["id"])
        after = _after(request)
        if isinstance(after, Refusal):
            await request.refuse(after)
            return
        clings = await self._clings(request, job_id)
        if isinstance(clings, Refusal):
            await request.refuse(clings)
            return
        if request.scope["method"] == "HEAD":
            await request.reply(200, b"", _HEADERS)
            return
        reader = self._readers.open(job_id, request.holder.key_id, after)
        if isinstance(reader, Refusal):
            await request.refuse(reader)
            return
        try:
            await self._attend(request, reader, clings=clings)
        finally:
            self._readers.forget(reader)

    async def _clings(self, request: Request, job_id: JobId) -> bool | Refusal:
        """Whether the job shall end with its reader; a refusal if there is no such job."""
        owner: KeyId | None = None if request.holder.sees_all else request.holder.key_id
        known = self._readers.known(job_id)
        if known is not None and owner in (None, known.key_id):
            return known.clings
        # Apart, so that the row with all its text is not kept for as long as the stream is open.
        is_id = ids.is_id(ids.PREFIX_JOB, job_id)
        job = await self._store.job(job_id, owner) if is_id else None
        if job is None:
            return Refusal(Code.JOB_NOT_FOUND, f"there is no job {job_id}")
        return job.cancel_on_disconnect and job.status in ACTIVE_STATUSES

    async def _attend(self, request: Request, reader: EventReader, *, clings: bool) -> None:
        async def send(data: bytes, *, more: bool) -> None:
            await request.send({"type": "http.response.body", "body": data, "more_body": more})

        watcher = Aside(request.disconnected(), lambda: self._left(reader, clings=clings))
        try:
            async with asyncio.timeout(None) as reader.patience:
                await request.reply(200, b"", _HEADERS, more=True)
                await self._readers.feed(reader, send)
        except TimeoutError:
            # The client is gone or does not read; it may come back with its last id.
            return
        finally:
            watcher.close()

    def _left(self, reader: EventReader, *, clings: bool) -> None:
        if reader.done:
            return
        reader.done = True
        if clings:
            self._cancel(reader.job_id)
        if reader.patience is not None:
            run_out(reader.patience)

    def _cancel(self, job_id: JobId) -> None:
        """Write down that the job shall end, then end it."""

        def written(future: asyncio.Future[int]) -> None:
            if not future.cancelled() and (problem := future.exception()) is not None:
                _log.warning("cancel.unwritten", job_id=job_id, reason=str(problem))
            self._loop.post(CancelRequested(at=self._loop.now(), job_id=job_id))

        try:
            wish = RequestCancel(job_id=job_id, at_ms=self._clock.unix_ms())
            self._store.submit(wish).add_done_callback(written)
        except LlorchError as problem:
            # Nobody was promised anything: the job ends all the same, unless we do first.
            _log.warning("cancel.unwritten", job_id=job_id, reason=problem.refusal.message)
            self._loop.post(CancelRequested(at=self._loop.now(), job_id=job_id))


def _after(request: Request) -> int | Refusal:
    """The last event the client has: the header of a reconnect wins over the query."""
    text = header(request.scope, b"last-event-id") or request.query("after") or "0"
    if not text.isdecimal() or len(text) > 18:
        return Refusal(Code.INVALID_REQUEST, "Last-Event-ID is a number from 0 on")
    return int(text)
