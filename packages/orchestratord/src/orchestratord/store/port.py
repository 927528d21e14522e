"""The port of the durable store: what the rest of the orchestrator may ask of it.

Writes go in by submit (awaited) or post (riding along) and are applied in that order, in groups
that become durable together. Reads see only what is durable.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import DataError, LlorchError, Refusal
from orchestrator_core.ids import JobId, KeyId
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
from orchestratord.store.writes import Write

__all__ = [
    "POST_HEADROOM",
    "JobStore",
    "OnCommit",
    "Outcome",
    "StaleWriteError",
    "Vitals",
]


class StaleWriteError(DataError):
    """The row says otherwise than the writer believed; nothing was written and the row wins."""


Outcome = int | LlorchError
"""How many rows a write touched (1 unless its class says otherwise), or why it was not applied."""

OnCommit = Callable[[Outcome], None]

POST_HEADROOM: Final = 2
"""How many times further posted writes may fill the queue than submitted ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """How the store is, for those who watch it."""

    writes_waiting: int = 0
    log_bytes: int = 0
    free_bytes: int | None = None
    full: bool = False


class JobStore(Protocol):
    """One durable store; every method is called on the thread of the event loop that opened it."""

    @property
    def low_on_space(self) -> Refusal | None:
        """What new work is told while the disk is short of space; None when there is enough."""
        ...

    @low_on_space.setter
    def low_on_space(self, refusal: Refusal | None) -> None:
        """Say so; whoever watches the disk does."""
        ...

    @property
    def on_applied(self) -> Callable[[Write], None] | None:
        """Told of each write once it is durable; of an awaited one in the context of its caller."""
        ...

    @on_applied.setter
    def on_applied(self, told: Callable[[Write], None] | None) -> None:
        """Name the one listener."""
        ...

    @property
    def failed(self) -> LlorchError | None:
        """Why the store takes no more writes until a restart; None while it works."""
        ...

    def submit(self, write: Write) -> asyncio.Future[int]:
        """Apply a write; the future resolves after its COMMIT, or raises why it was not applied.

        Raises CapacityError at once when too many writes wait already (QUEUE_FULL) or while the
        disk has no room (DISK_LOW).
        """
        ...

    def post(self, write: Write, on_commit: OnCommit | None = None) -> None:
        """Apply a write that nobody awaits; without a callback the loop reports its failure.

        Such writes follow from work that was admitted, so they may fill the queue further than
        submit may: new work is refused long before work in progress is in danger. When the disk
        is full they wait until there is room.
        """
        ...

    async def job(self, job_id: JobId, key_id: KeyId | None = None) -> JobRow | None:
        """One job with its texts; a key given here must own it."""
        ...

    async def job_of(self, key_id: KeyId, idempotency_key: str) -> JobRow | None:
        """The job that this key handed in under an idempotency key, as long as it is listed."""
        ...

    async def attempts(self, job_id: JobId) -> list[AttemptRow]:
        """The attempts of a job, the first one first."""
        ...

    async def events_after(self, job_id: JobId, seq: int, limit: int) -> list[EventRow]:
        """Events of a job behind this number, in order."""
        ...

    async def last_seq(self, job_id: JobId) -> int:
        """The number of the last event of a job; 0 when it has none."""
        ...

    async def list_jobs(self, wanted: JobFilter) -> JobPage:
        """One page of jobs, newest first."""
        ...

    async def restore(self) -> list[StoredJob]:
        """All unfinished jobs, interactive ones first, then by the time they were queued."""
        ...

    async def keys(self) -> list[KeyRow]:
        """All keys, revoked ones too, in the order of their making."""
        ...

    async def pools(self) -> list[PoolRow]:
        """All enrolled pools in the order of their names."""
        ...

    async def join_tokens(self) -> list[JoinTokenRow]:
        """The latest token of every name, used ones too."""
        ...

    async def usage(self, job_id: JobId) -> UsageRow | None:
        """What a finished job or call used."""
        ...

    async def usage_totals(
        self, *, key_id: KeyId | None = None, since_ms: int | None = None
    ) -> list[UsageTotal]:
        """Usage per key and model of what ended since a time, the most tokens first."""
        ...

    def vitals(self) -> Vitals:
        """How the store is now."""
        ...

    async def counts(self) -> Mapping[JobStatus, int]:
        """How many jobs have each status."""
        ...

    async def close(self) -> None:
        """Apply all that waits, then let go of everything; later writes are refused."""
        ...
