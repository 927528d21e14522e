"""The memory adapter of the store: the same promises without a disk, for tests and simulations.

Writes wait for the loop's next round, as a group does for its COMMIT; the tables may outlive one
store and be opened by the next, as a file is.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter

from orchestrator_core.contracts.tasks import EventKind, JobStatus
from orchestrator_core.errors import CapacityError, Code, HostError, LlorchError, Refusal
from orchestrator_core.ids import JobId, KeyId
from orchestratord.store.memory_tables import MemoryTables
from orchestratord.store.outcomes import Entry, settle, tell_applied
from orchestratord.store.port import POST_HEADROOM, OnCommit, Outcome, Vitals
from orchestratord.store.rows import (
    AttemptRow,
    EventRow,
    JobFilter,
    JobPage,
    JobRow,
    JoinTokenRow,
    KeyRow,
    PoolRow,
    StoredJob,
    UsageRow,
    UsageTotal,
    tokens_committed,
)
from orchestratord.store.writer import QUEUE_LIMIT
from orchestratord.store.writes import Write

__all__ = ["MemoryStore"]


class MemoryStore:
    """A JobStore that forgets all when its tables go."""

    def __init__(
        self, tables: MemoryTables | None = None, *, queue_limit: int = QUEUE_LIMIT
    ) -> None:
        self._tables = tables or MemoryTables()
        self._queue_limit = queue_limit
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Entry] = []
        self._closed = False
        self.low_on_space: Refusal | None = None
        self.on_applied: Callable[[Write], None] | None = None

    @property
    def failed(self) -> LlorchError | None:
        """Memory does not fail."""
        return None

    def submit(self, write: Write) -> asyncio.Future[int]:
        """Apply a write; the future resolves once it can be read."""
        future: asyncio.Future[int] = self._loop.create_future()
        if self.on_applied is not None:
            future.add_done_callback(partial(tell_applied, self.on_applied, write))
        self._enqueue(Entry(write, future))
        return future

    def post(self, write: Write, on_commit: OnCommit | None = None) -> None:
        """Apply a write that nobody awaits."""
        self._enqueue(Entry(write, None, on_commit))

    async def job(self, job_id: JobId, key_id: KeyId | None = None) -> JobRow | None:
        """One job with its texts; a key given here must own it."""
        job = self._tables.jobs.get(job_id)
        return job if job is not None and key_id in (None, job.key_id) else None

    async def job_of(self, key_id: KeyId, idempotency_key: str) -> JobRow | None:
        """The job that this key handed in under an idempotency key, as long as it is listed."""
        wanted = (key_id, idempotency_key)
        jobs = self._tables.jobs.values()
        return next((job for job in jobs if (job.key_id, job.idempotency_key) == wanted), None)

    async def attempts(self, job_id: JobId) -> list[AttemptRow]:
        """The attempts of a job, the first one first."""
        return list(self._tables.attempts.get(job_id, ()))

    async def events_after(self, job_id: JobId, seq: int, limit: int) -> list[EventRow]:
        """Events of a job behind this number, in order."""
        return [row for row in self._tables.events.get(job_id, ()) if row.seq > seq][:limit]

    async def last_seq(self, job_id: JobId) -> int:
        """The number of the last event of a job; 0 when it has none."""
        events = self._tables.events.get(job_id)
        return events[-1].seq if events else 0

    async def list_jobs(self, wanted: JobFilter) -> JobPage:
        """One page of jobs, newest first."""
        found = [job for job in self._tables.jobs.values() if _matches(job, wanted)]
        found.sort(key=lambda job: job.id, reverse=True)
        items = tuple(self._tables.without_texts(job) for job in found[: wanted.limit])
        return JobPage(items=items, next_cursor=items[-1].id if len(found) > len(items) else None)

    async def restore(self) -> list[StoredJob]:
        """All unfinished jobs, interactive ones first, then by the time they were queued."""
        active = [job for job in self._tables.jobs.values() if job.ended_at_ms is None]
        return sorted(map(self._stored, active), key=attrgetter("place"))

    async def keys(self) -> list[KeyRow]:
        """All keys in the order of their making."""
        return sorted(self._tables.keys.values(), key=lambda key: key.id)

    async def pools(self) -> list[PoolRow]:
        """All enrolled pools in the order of their names."""
        return self._tables.hosts.pools()

    async def join_tokens(self) -> list[JoinTokenRow]:
        """The latest token of every name, used ones too."""
        return self._tables.hosts.join_tokens()

    async def usage(self, job_id: JobId) -> UsageRow | None:
        """What a finished job or call used."""
        return self._tables.usage.get(job_id)

    async def usage_totals(
        self, *, key_id: KeyId | None = None, since_ms: int | None = None
    ) -> list[UsageTotal]:
        """Usage per key and model, the most tokens first."""
        return self._tables.usage_totals(key_id, since_ms)

    def vitals(self) -> Vitals:
        """How the store is now."""
        return Vitals(writes_waiting=len(self._waiting))

    async def counts(self) -> Mapping[JobStatus, int]:
        """How many jobs have each status."""
        found = Counter(job.status for job in self._tables.jobs.values())
        return {status: found[status] for status in JobStatus}

    async def close(self) -> None:
        """Apply all that waits; later writes are refused."""
        self._closed = True
        self._apply_waiting()

    def _enqueue(self, entry: Entry) -> None:
        if self._closed:
            raise HostError(Refusal(Code.DRAINING, "the store is closed"))
        limit = self._queue_limit * (1 if entry.future else POST_HEADROOM)
        if len(self._waiting) >= limit:
            text = f"{len(self._waiting)} writes wait already"
            raise CapacityError(Refusal(Code.QUEUE_FULL, text, retry_after_s=1))
        if not self._waiting:
            self._loop.call_soon(self._apply_waiting)
        self._waiting.append(entry)

    def _apply_waiting(self) -> None:
        group, self._waiting = self._waiting, []
        outcomes = [self._apply(entry.write) for entry in group]
        for entry, outcome in zip(group, outcomes, strict=True):
            settle(self._loop, entry, outcome)
            if self.on_applied and entry.future is None and isinstance(outcome, int):
                self.on_applied(entry.write)

    def _apply(self, write: Write) -> Outcome:
        try:
            return self._tables.perform(write)
        except LlorchError as error:
            return error

    def _stored(self, job: JobRow) -> StoredJob:
        events = self._tables.events[job.id]
        progress = [e for e in events if e.kind in (EventKind.TOKEN, EventKind.ATTEMPT)]
        tokens = tokens_committed(progress[-1].kind, progress[-1].data) if progress else 0
        return StoredJob(job=job, last_seq=events[-1].seq, tokens_committed=tokens)


def _matches(job: JobRow, wanted: JobFilter) -> bool:
    return (
        wanted.status in (None, job.status)
        and wanted.model in (None, job.model)
        and wanted.priority in (None, job.priority)
        and wanted.key_id in (None, job.key_id)
        and (wanted.cursor is None or job.id < wanted.cursor)
    )
