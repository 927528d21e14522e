"""The SQLite adapter of the store: one writing thread and a few read-only connections.

The composition root opens it under the data folder, whose lock it already holds.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import LlorchError
from orchestrator_core.ids import JobId, KeyId
from orchestratord.store.database import Synchronous, open_database, reader_address
from orchestratord.store.port import OnCommit
from orchestratord.store.queries import load_queries
from orchestratord.store.reader import Reader
from orchestratord.store.rows import (
    AttemptRow,
    EventRow,
    JobFilter,
    JobPage,
    JobRow,
    KeyRow,
    StoredJob,
    UsageRow,
)
from orchestratord.store.writer import GROUP_LIMIT, QUEUE_LIMIT, Writer
from orchestratord.store.writes import Write

__all__ = ["SqliteStore", "StoreOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """The bounds of a store; NORMAL loses acknowledged jobs at a power cut and serves tests."""

    group_limit: int = GROUP_LIMIT
    queue_limit: int = QUEUE_LIMIT
    readers: int = 3
    synchronous: Synchronous = "FULL"


class SqliteStore:
    """A JobStore in one SQLite file."""

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    @classmethod
    async def open(cls, path: Path, options: StoreOptions | None = None) -> Self:
        """Open or create the file; raises HostError with one line when it cannot be used."""
        options = options or StoreOptions()
        sql = load_queries()
        writer = Writer(
            lambda: open_database(path, sql, synchronous=options.synchronous),
            sql,
            group_limit=options.group_limit,
            queue_limit=options.queue_limit,
        )
        store = cls(writer, Reader(sql))
        try:
            await writer.open()
            await store._reader.open(reader_address(path), options.readers)
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def failed(self) -> LlorchError | None:
        """Why the store takes no more writes; None while it works."""
        return self._writer.failed

    def submit(self, write: Write) -> asyncio.Future[int]:
        """Apply a write; the future resolves after its COMMIT."""
        return self._writer.submit(write)

    def post(self, write: Write, on_commit: OnCommit | None = None) -> None:
        """Apply a write that nobody awaits."""
        self._writer.post(write, on_commit)

    async def job(self, job_id: JobId, key_id: KeyId | None = None) -> JobRow | None:
        """One job with its texts; a key given here must own it."""
        return await self._reader.job(job_id, key_id)

    async def attempts(self, job_id: JobId) -> list[AttemptRow]:
        """The attempts of a job, the first one first."""
        return await self._reader.attempts(job_id)

    async def events_after(self, job_id: JobId, seq: int, limit: int) -> list[EventRow]:
        """Events of a job behind this number, in order."""
        return await self._reader.events_after(job_id, seq, limit)

    async def last_seq(self, job_id: JobId) -> int:
        """The number of the last event of a job; 0 when it has none."""
        return await self._reader.last_seq(job_id)

    async def list_jobs(self, wanted: JobFilter) -> JobPage:
        """One page of jobs, newest first."""
        return await self._reader.list_jobs(wanted)

    async def restore(self) -> list[StoredJob]:
        """All unfinished jobs, interactive ones first, then by the time they were queued."""
        return await self._reader.restore()

    async def keys(self) -> list[KeyRow]:
        """All keys in the order of their making."""
        return await self._reader.keys()

    async def usage(self, job_id: JobId) -> UsageRow | None:
        """What a finished job or call used."""
        return await self._reader.usage(job_id)

    async def counts(self) -> Mapping[JobStatus, int]:
        """How many jobs have each status."""
        return await self._reader.counts()

    async def close(self) -> None:
        """Close the readers, then apply what waits and close the file in order."""
        await self._reader.close()
        await self._writer.close()
