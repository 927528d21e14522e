"""POST /v2/tasks and GET /v2/tasks/{id}/events: the durable job's way in and its stream out."""

import asyncio
import contextlib
from typing import Final

from orchestrator_core import ids
from orchestrator_core.clock import Clock
from orchestrator_core.contracts.tasks import TaskSubmit
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import JobId, KeyId
from orchestrator_core.scheduler.events import CancelRequested
from orchestratord.api.request import Request, header
from orchestratord.runtime.loop import Loop
from orchestratord.serving.event_readers import EventReader, EventReaders
from orchestratord.serving.gate import Gate
from orchestratord.serving.patience import run_out
from orchestratord.store.port import JobStore
from orchestratord.store.rows import ACTIVE_STATUSES, JobRow
from orchestratord.store.writes import RequestCancel

__all__ = ["EventsHandler", "SubmitHandler"]

_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


class SubmitHandler:
    """Queues a job; the answer is sent when it is on disk."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def __call__(self, request: Request) -> None:
        """Serve one submission."""
        task = await request.parsed(TaskSubmit)
        if isinstance(task, Refusal):
            await request.refuse(task)
            return
        accepted = await self._gate.admit_task(request.holder, task)
        if isinstance(accepted, Refusal):
            await request.refuse(accepted)
            return
        await request.reply(202, accepted.model_dump_json().encode())


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
        job = await self._find(request, job_id)
        if job is None:
            await request.refuse(Refusal(Code.JOB_NOT_FOUND, f"there is no job {job_id}"))
            return
        is_head = request.scope["method"] == "HEAD"
        await request.reply(200, b"", _HEADERS, more=not is_head)
        if is_head:
            return
        reader = EventReader(job_id, after, self._clock)
        try:
            async with asyncio.timeout(None) as patience, asyncio.TaskGroup() as tasks:
                reader.patience = patience
                watcher = tasks.create_task(self._watch(request, job, patience))
                await self._pour(request, reader)
                watcher.cancel()
        except TimeoutError:
            # The client is gone or does not read; it may come back with its last id.
            return

    async def _find(self, request: Request, job_id: JobId) -> JobRow | None:
        if not ids.is_id(ids.PREFIX_JOB, job_id):
            return None
        owner: KeyId | None = None if request.holder.sees_all else request.holder.key_id
        return await self._store.job(job_id, owner)

    async def _pour(self, request: Request, reader: EventReader) -> None:
        async with contextlib.aclosing(self._readers.frames(reader)) as frames:
            async for data in frames:
                await request.send({"type": "http.response.body", "body": data, "more_body": True})
        await request.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, request: Request, job: JobRow, patience: asyncio.Timeout) -> None:
        await request.disconnected()
        if job.cancel_on_disconnect and job.status in ACTIVE_STATUSES:
            at_ms = self._clock.unix_ms()
            await self._store.submit(RequestCancel(job_id=job.id, at_ms=at_ms))
            self._loop.post(CancelRequested(at=self._loop.now(), job_id=job.id))
        run_out(patience)


def _after(request: Request) -> int | Refusal:
    """The last event the client has: the header of a reconnect wins over the query."""
    text = header(request.scope, b"last-event-id") or request.query("after") or "0"
    if not text.isdecimal() or len(text) > 18:
        return Refusal(Code.INVALID_REQUEST, "Last-Event-ID is a number from 0 on")
    return int(text)
