"""Listing, showing and cancelling jobs: stored ones from the store, calls from memory."""

import asyncio
import contextlib
from typing import Annotated, Final

from fastapi import Query, Request

from orchestrator_core import ids
from orchestrator_core.clock import Clock
from orchestrator_core.contracts.tasks import JobStatus, JobView, Priority, TaskList
from orchestrator_core.errors import Code, Refusal, RequestError
from orchestrator_core.ids import JobId
from orchestrator_core.scheduler.events import CancelRequested
from orchestratord.api.control.holder import holder_of
from orchestratord.api.control.views import job_view
from orchestratord.runtime.call_record import CallRecord, RecentCalls
from orchestratord.runtime.durable_job import DurableJob
from orchestratord.runtime.keyring import Principal
from orchestratord.runtime.live import LiveJobs
from orchestratord.runtime.loop import Loop
from orchestratord.store.port import JobStore
from orchestratord.store.rows import JobFilter
from orchestratord.store.writes import RequestCancel

__all__ = ["TaskHandlers"]

_CANCEL_WAIT_S: Final = 5.0


class TaskHandlers:
    """The plain routes of /v2/tasks."""

    def __init__(
        self,
        *,
        store: JobStore,
        jobs: LiveJobs,
        calls: RecentCalls,
        loop: Loop,
        clock: Clock,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._calls = calls
        self._loop = loop
        self._clock = clock

    async def show_page(
        self,
        request: Request,
        status: JobStatus | None = None,
        model: str | None = None,
        priority: Priority | None = None,
        cursor: str | None = None,
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
    ) -> TaskList:
        """Show one page of the calls in memory and the jobs in the store."""
        holder = holder_of(request)
        page = await self._store.list_jobs(
            JobFilter(
                status=status,
                model=model,
                priority=priority,
                key_id=None if holder.sees_all else holder.key_id,
                cursor=cursor,
                limit=limit,
            )
        )
        calls = [
            call
            for call in self._calls.newest_first()
            if _may_see(holder, call)
            and (cursor is None or call.id < cursor)
            and (status is None or call.status is status)
            and (model is None or call.model == model)
            and (priority is None or call.priority is priority)
        ]
        found = [call.view() for call in calls[:limit]] + [job_view(row) for row in page.items]
        found.sort(key=lambda view: view.id, reverse=True)
        more = page.next_cursor is not None or len(page.items) + len(calls) > limit
        # Calls and stored jobs have ids of one order, so the last id is the cursor of both.
        return TaskList(items=found[:limit], next=found[limit - 1].id if more else None)

    async def show(self, request: Request, id: str) -> JobView:  # noqa: A002 - the path's name.
        """Show one job with its attempts and why it waits."""
        return await self._view(holder_of(request), id)

    async def cancel(self, request: Request, id: str) -> JobView:  # noqa: A002 - the path's name.
        """Cancel a job; one that has ended already is shown as it is."""
        holder = holder_of(request)
        call = self._calls.get(id)
        if call is not None and _may_see(holder, call):
            self._loop.post(CancelRequested(at=self._loop.now(), job_id=call.id))
            return call.view()
        view = await self._view(holder, id)
        job = self._jobs.get(view.id)
        if not isinstance(job, DurableJob):
            return view
        at_ms = self._clock.unix_ms()
        await self._store.submit(RequestCancel(job_id=job.id, at_ms=at_ms))
        self._loop.post(CancelRequested(at=self._loop.now(), job_id=job.id))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CANCEL_WAIT_S):
                await job.log.finished()
        return await self._view(holder, id)

    async def _view(self, holder: Principal, job_id: str) -> JobView:
        missing = RequestError(Refusal(Code.JOB_NOT_FOUND, f"there is no job {job_id}"))
        if not ids.is_id(ids.PREFIX_JOB, job_id):
            raise missing
        call = self._calls.get(job_id)
        if call is not None and _may_see(holder, call):
            return call.view(self._loop.machine.explain(call.id))
        owner = None if holder.sees_all else holder.key_id
        row = await self._store.job(JobId(job_id), owner)
        if row is None:
            raise missing
        attempts = await self._store.attempts(row.id)
        return job_view(row, attempts, self._loop.machine.explain(row.id))


def _may_see(holder: Principal, call: CallRecord) -> bool:
    return holder.sees_all or call.key_id == holder.key_id
