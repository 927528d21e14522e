"""Reads from the SQLite file through a few connections that cannot write.

The store asks it on the event loop; rows come back as the records of the port.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter

import aiosqlite

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import LlorchError
from orchestratord.store import decoding
from orchestratord.store.database import READER_PRAGMAS
from orchestratord.store.faults import error_of, is_unreadable
from orchestratord.store.haste import Haste
from orchestratord.store.rows import (
    ACTIVE_STATUSES,
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

__all__ = ["Reader"]


class Reader:
    """A pool of read-only connections and the queries that run on them."""

    def __init__(
        self,
        sql: Mapping[str, str],
        on_failure: Callable[[LlorchError], None] = lambda _: None,
    ) -> None:
        self._sql = sql
        self._on_failure = on_failure
        self._connections: list[aiosqlite.Connection] = []
        self._idle: list[aiosqlite.Connection] = []
        # Fair, which a queue is not: who asks again at once must not pass those who wait.
        self._turns = asyncio.Semaphore(0)
        self._haste = Haste()

    async def open(self, address: str, connections: int) -> None:
        """Open the connections; the file must exist with its schema."""
        for _ in range(connections):
            connection = await aiosqlite.connect(address, uri=True, isolation_level=None)
            self._connections.append(connection)
            connection.row_factory = sqlite3.Row
            for pragma in READER_PRAGMAS:
                await connection.execute(f"PRAGMA {pragma}")
            self._idle.append(connection)
            self._turns.release()

    async def close(self) -> None:
        """Close all connections; running queries end first."""
        while self._connections:
            await self._connections.pop().close()

    async def job(self, job_id: str, key_id: str | None) -> JobRow | None:
        """One job with its texts."""
        rows = await self._fetch("job", job_id, key_id)
        return decoding.job(rows[0]) if rows else None

    async def job_of(self, key_id: str, idempotency_key: str) -> JobRow | None:
        """The job under an idempotency key."""
        rows = await self._fetch("job_of", key_id, idempotency_key)
        return decoding.job(rows[0]) if rows else None

    async def attempts(self, job_id: str) -> list[AttemptRow]:
        """The attempts of a job."""
        return [decoding.attempt(row) for row in await self._fetch("attempts", job_id)]

    async def events_after(self, job_id: str, seq: int, limit: int) -> list[EventRow]:
        """Events behind a number."""
        rows = await self._fetch("events_after", job_id, seq, limit)
        return [decoding.event(row) for row in rows]

    async def last_seq(self, job_id: str) -> int:
        """The number of the last event."""
        rows = await self._fetch("last_seq", job_id)
        return int(rows[0]["seq"])

    async def list_jobs(self, wanted: JobFilter) -> JobPage:
        """One page; one row more is read to know whether another page follows."""
        name = "list_active_jobs" if wanted.status in ACTIVE_STATUSES else "list_jobs"
        filters = (wanted.status, wanted.model, wanted.priority, wanted.key_id, wanted.cursor)
        jobs = [decoding.job(row) for row in await self._fetch(name, *filters, wanted.limit + 1)]
        items = tuple(jobs[: wanted.limit])
        return JobPage(items=items, next_cursor=items[-1].id if len(jobs) > len(items) else None)

    async def restore(self) -> list[StoredJob]:
        """All unfinished jobs."""
        stored = [decoding.stored_job(row) for row in await self._fetch("restore")]
        return sorted(stored, key=attrgetter("place"))

    async def keys(self) -> list[KeyRow]:
        """All keys."""
        return [decoding.key(row) for row in await self._fetch("keys")]

    async def pools(self) -> list[PoolRow]:
        """All enrolled pools."""
        return [decoding.pool(row) for row in await self._fetch("pools")]

    async def join_tokens(self) -> list[JoinTokenRow]:
        """All tokens that are kept."""
        return [decoding.join_token(row) for row in await self._fetch("join_tokens")]

    async def usage(self, job_id: str) -> UsageRow | None:
        """The usage of one job."""
        rows = await self._fetch("usage", job_id)
        return decoding.usage(rows[0]) if rows else None

    async def usage_totals(self, key_id: str | None, since_ms: int | None) -> list[UsageTotal]:
        """Usage per key and model."""
        if key_id is None:
            rows = await self._fetch("usage_totals", since_ms)
        else:
            rows = await self._fetch("usage_totals_of", since_ms, key_id)
        return [decoding.usage_total(row) for row in rows]

    async def counts(self) -> dict[JobStatus, int]:
        """Jobs per status."""
        found = {JobStatus(row["status"]): row["jobs"] for row in await self._fetch("counts")}
        return {status: found.get(status, 0) for status in JobStatus}

    async def _fetch(self, name: str, *parameters: object) -> Sequence[sqlite3.Row]:
        async with self._turns:
            connection = self._idle.pop()
            self._haste.begin()
            try:
                rows = await connection.execute_fetchall(self._sql[name], parameters)
            except sqlite3.Error as error:
                problem = error_of(error)
                if is_unreadable(error):
                    self._on_failure(problem)
                raise problem from error
            finally:
                self._haste.end()
                # Also after a cancellation: the connection's thread does one query after the other.
                self._idle.append(connection)
        return list(rows)
