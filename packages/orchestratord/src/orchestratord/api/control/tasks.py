"""Listing, showing and cancelling jobs: stored ones from the store, calls from memory."""

import asyncio
import itertools
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
from orchestratord.runtime.jobs.call_record import CallRecord, RecentCalls
from orchestratord.runtime.jobs.durable_job import DurableJob
from orchestratord.runtime.jobs.farewells import Farewells
from orchestratord.runtime.jobs.live import LiveJobs
from orchestratord.runtime.keys.keyring import Principal
from orchestratord.runtime.loop import Loop
from orchestratord.store.port import JobStore
from orchestratord.store.rows import JobFilter, JobRow
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
        self._farewells = Farewells(jobs)

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
        if cursor is not None and not ids.is_id(ids.PREFIX_JOB, cursor):
            text = "cursor is the `next` of the page before; leave it out for the first page"
            raise RequestError(Refusal(Code.INVALID_REQUEST, text, {"param": "cursor"}))
        wanted = JobFilter(
            status=status,
            model=model,
            priority=priority,
            key_id=None if holder.sees_all else holder.key_id,
            cursor=cursor,
            limit=limit,
        )
        page = await self._store.list_jobs(wanted)
        fitting = (call for call in self._calls.newest_first() if _fits(call, wanted))
        calls = list(itertools.islice(fitting, limit + 1))
        found = [call.view() for call in calls[:limit]] + [job_view(row) for row in page.items]
        found.sort(key=lambda view: view.id, reverse=True)
        more = page.next_cursor is not None or len(page.items) + len(calls) > limit
        # Calls and stored jobs have ids of one order, so the last id is the cursor of both.
        return TaskList(items=found[:limit], next=found[limit - 1].id if more else None)

    async def show(self, request: Request, id: str) -> JobView:  # noqa: A002 - the path's name.
        """Show one job with its attempts and why it waits."""
        return await self._view(holder_of(request), id)

    async def cancel(self, request: Request, id: str) -> JobView:  # noqa: A002 - the path's name.
        """Cancel a job and wait for its end; one that has ended already is shown as it is."""
        holder = holder_of(request)
        found = await self._find(holder, id)
        job = self._jobs.get(found.id)
        if job is None:
            # It has ended already, perhaps since it was looked up.
            return await self._view(holder, id)
        with self._farewells.of(job.id) as end:
            if isinstance(job, DurableJob):
                # On disk before anything else: what is acknowledged here survives our own death.
                wish = RequestCancel(job_id=job.id, at_ms=self._clock.unix_ms())
                await self._store.submit(wish)
            self._loop.post(CancelRequested(at=self._loop.now(), job_id=job.id))
            await asyncio.wait((end,), timeout=_CANCEL_WAIT_S)
        return await self._view(holder, id)

    async def _view(self, holder: Principal, job_id: str) -> JobView:
        found = await self._find(holder, job_id)
        why = self._loop.machine.explain(found.id)
        if isinstance(found, CallRecord):
            return found.view(why)
        attempts = await self._store.attempts(found.id)
        return job_view(found, attempts, why)

    async def _find(self, holder: Principal, job_id: str) -> CallRecord | JobRow:
        """The job, if there is one that this key may see."""
        if ids.is_id(ids.PREFIX_JOB, job_id):
            call = self._calls.get(job_id)
            if call is not None and _may_see(holder, call):
                return call
            owner = None if holder.sees_all else holder.key_id
            row = await self._store.job(JobId(job_id), owner)
            if row is not None:
                return row
        raise RequestError(Refusal(Code.JOB_NOT_FOUND, f"there is no job {job_id}"))


def _may_see(holder: Principal, call: CallRecord) -> bool:
    return holder.sees_all or call.key_id == holder.key_id


def _fits(call: CallRecord, wanted: JobFilter) -> bool:
    return (
        (wanted.key_id is None or call.key_id == wanted.key_id)
        and (wanted.cursor is None or call.id < wanted.cursor)
        and (wanted.status is None or call.status is wanted.status)
        and (wanted.model is None or call.model == wanted.model)
        and (wanted.priority is None or call.priority is wanted.priority)
    )
