"""The SQLite adapter of the store: one writing thread and a few read-only connections.

The composition root opens it under the data folder, whose lock it already holds.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code, HostError, LlorchError, Refusal
from orchestrator_core.ids import JobId, KeyId
from orchestratord.store.ballast import BALLAST_NAME, Ballast
from orchestratord.store.database import Synchronous, open_database, reader_address
from orchestratord.store.faults import disk_full
from orchestratord.store.port import OnCommit, Vitals
from orchestratord.store.queries import load_queries
from orchestratord.store.reader import Reader
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
)
from orchestratord.store.writer import FULL_RETRY_S, GROUP_LIMIT, QUEUE_LIMIT, Writer
from orchestratord.store.writes import Write

__all__ = ["SqliteStore", "StoreOptions", "free_bytes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """The bounds of a store; NORMAL loses acknowledged jobs at a power cut and serves tests."""

    group_limit: int = GROUP_LIMIT
    queue_limit: int = QUEUE_LIMIT
    readers: int = 3
    synchronous: Synchronous = "FULL"
    ballast_bytes: int = 0
    full_retry_s: float = FULL_RETRY_S
    on_check: Callable[[int], None] = field(default=lambda _: None)
    """Told the size of a file before it is checked after a crash, on the store's thread."""
    on_failure: Callable[[LlorchError], None] = field(default=lambda _: None)
    """Told, on the loop, why nothing can be trusted until a restart."""


class SqliteStore:
    """A JobStore in one SQLite file."""

    def __init__(self, path: Path, writer: Writer, reader: Reader, ballast: Ballast) -> None:
        self.path = path
        self.ballast = ballast
        self._writer = writer
        self._reader = reader
        self._low_on_space: Refusal | None = None

    @classmethod
    async def open(cls, path: Path, options: StoreOptions | None = None) -> Self:
        """Open or create the file; raises HostError with one line when it cannot be used."""
        options = options or StoreOptions()
        sql = load_queries()
        ballast = Ballast(path.with_name(BALLAST_NAME), options.ballast_bytes)
        ballast.trim()

        def connect() -> sqlite3.Connection:
            return open_database(
                path, sql, synchronous=options.synchronous, on_check=options.on_check
            )

        writer = Writer(
            lambda: _with_room(connect, ballast),
            sql,
            group_limit=options.group_limit,
            queue_limit=options.queue_limit,
            make_room=ballast.release,
            full_retry_s=options.full_retry_s,
            on_failure=options.on_failure,
        )
        store = cls(path, writer, Reader(sql, options.on_failure), ballast)
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

    @property
    def low_on_space(self) -> Refusal | None:
        """What new work is told while the disk is short of space."""
        return disk_full().refusal if self._writer.full else self._low_on_space

    @low_on_space.setter
    def low_on_space(self, refusal: Refusal | None) -> None:
        self._low_on_space = refusal

    @property
    def on_applied(self) -> Callable[[Write], None] | None:
        """Told of each write once it is durable; of an awaited one in the context of its caller."""
        return self._writer.on_applied

    @on_applied.setter
    def on_applied(self, told: Callable[[Write], None] | None) -> None:
        self._writer.on_applied = told

    def vitals(self) -> Vitals:
        """How the store is now."""
        return Vitals(
            writes_waiting=self._writer.waiting,
            log_bytes=_size_bytes(self.path.with_name(f"{self.path.name}-wal")),
            free_bytes=free_bytes(self.path.parent),
            full=self._writer.full,
        )

    def submit(self, write: Write) -> asyncio.Future[int]:
        """Apply a write; the future resolves after its COMMIT."""
        return self._writer.submit(write)

    def post(self, write: Write, on_commit: OnCommit | None = None) -> None:
        """Apply a write that nobody awaits."""
        self._writer.post(write, on_commit)

    async def job(self, job_id: JobId, key_id: KeyId | None = None) -> JobRow | None:
        """One job with its texts; a key given here must own it."""
        return await self._reader.job(job_id, key_id)

    async def job_of(self, key_id: KeyId, idempotency_key: str) -> JobRow | None:
        """The job that this key handed in under an idempotency key, as long as it is listed."""
        return await self._reader.job_of(key_id, idempotency_key)

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

    async def pools(self) -> list[PoolRow]:
        """All enrolled pools in the order of their names."""
        return await self._reader.pools()

    async def join_tokens(self) -> list[JoinTokenRow]:
        """The latest token of every name, used ones too."""
        return await self._reader.join_tokens()

    async def usage(self, job_id: JobId) -> UsageRow | None:
        """What a finished job or call used."""
        return await self._reader.usage(job_id)

    async def usage_totals(
        self, *, key_id: KeyId | None = None, since_ms: int | None = None
    ) -> list[UsageTotal]:
        """Usage per key and model, the most tokens first."""
        return await self._reader.usage_totals(key_id, since_ms)

    async def counts(self) -> Mapping[JobStatus, int]:
        """How many jobs have each status."""
        return await self._reader.counts()

    async def close(self) -> None:
        """Close the readers, then apply what waits and close the file in order."""
        try:
            await self._reader.close()
        finally:
            await self._writer.close()


def free_bytes(folder: Path) -> int | None:
    """What may still be written under a folder; None where nobody can tell."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return found.f_bavail * found.f_frsize


def _with_room(connect: Callable[[], sqlite3.Connection], ballast: Ballast) -> sqlite3.Connection:
    """Open the file, on a full disk with the space that was kept for that."""
    try:
        return connect()
    except HostError as error:
        if error.code is not Code.DISK_LOW or not ballast.release_all():
            raise
    return connect()


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
