"""The port of the durable store: what the rest of the orchestrator may ask of it.

Writes go in by submit (awaited) or post (riding along) and are applied in that order, in groups
that become durable together. Reads see only what is durable.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import DataError, LlorchError
from orchestrator_core.ids import JobId, KeyId
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
from orchestratord.store.writes import Write

__all__ = ["POST_HEADROOM", "JobStore", "OnCommit", "Outcome", "StaleWriteError"]


class StaleWriteError(DataError):
    """The row says otherwise than the writer believed; nothing was written and the row wins."""


Outcome = int | LlorchError
"""How many rows a write touched (1 unless its class says otherwise), or why it was not applied."""

OnCommit = Callable[[Outcome], None]

POST_HEADROOM: Final = 2
"""How many times further posted writes may fill the queue than submitted ones."""


class JobStore(Protocol):
    """One durable store; every method is called on the thread of the event loop that opened it."""

    @property
    def failed(self) -> LlorchError | None:
        """Why the store takes no more writes until a restart; None while it works."""
        ...

    def submit(self, write: Write) -> asyncio.Future[int]:
        """Apply a write; the future resolves after its COMMIT, or raises why it was not applied.

        Raises CapacityError (QUEUE_FULL) at once when too many writes wait already.
        """
        ...

    def post(self, write: Write, on_commit: OnCommit | None = None) -> None:
        """Apply a write that nobody awaits; without a callback the loop reports its failure.

        Such writes follow from work that was admitted, so they may fill the queue further than
        submit may: new work is refused long before work in progress is in danger.
        """
        ...

    async def job(self, job_id: JobId, key_id: KeyId | None = None) -> JobRow | None:
        """One job with its texts; a key given here must own it."""
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

    async def usage(self, job_id: JobId) -> UsageRow | None:
        """What a finished job or call used."""
        ...

    async def counts(self) -> Mapping[JobStatus, int]:
        """How many jobs have each status."""
        ...

    async def close(self) -> None:
        """Apply all that waits, then let go of everything; later writes are refused."""
        ...
