"""The writes that the store understands: small records, each applied whole or not at all.

The loop and the pumps make them; the adapters carry them out in the order of their submission.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import JobId, KeyId, PoolId, WorkerId
from orchestratord.store.rows import (
    ACTIVE_STATUSES,
    TERMINAL_KINDS,
    AttemptStatus,
    EventRow,
    JoinTokenRow,
    KeyRow,
    NewJob,
    PoolRow,
    UsageRow,
)

__all__ = [
    "ATTEMPT_STATUS_AT_END",
    "AdmitJob",
    "AppendEvents",
    "DropPool",
    "FinishJob",
    "MarkDispatched",
    "MarkRequeued",
    "MarkRunning",
    "NoteKeyUse",
    "Purge",
    "PurgeUsage",
    "PutJoinToken",
    "PutKey",
    "PutPool",
    "RecordUsage",
    "RequestCancel",
    "RevokeKey",
    "Strip",
    "UseJoinToken",
    "Write",
]

ATTEMPT_STATUS_AT_END: Final[dict[JobStatus, AttemptStatus]] = {
    JobStatus.COMPLETED: "ended",
    JobStatus.FAILED: "broken",
    JobStatus.CANCELLED: "cancelled",
    JobStatus.EXPIRED: "cancelled",
}


def _refuse_terminal(events: tuple[EventRow, ...]) -> None:
    if any(event.kind in TERMINAL_KINDS for event in events):
        raise ValueError("a terminal event is written by FinishJob, with the terminal state")


@dataclass(frozen=True, slots=True)
class AdmitJob:
    """Take a job in, with the first event of its stream."""

    job: NewJob
    queued_event: EventRow

    def __post_init__(self) -> None:
        if self.queued_event.seq != 1 or self.queued_event.job_id != self.job.id:
            raise ValueError("the queued event of a job is its own event 1")


@dataclass(frozen=True, slots=True)
class AppendEvents:
    """Add events behind the last ones of their unfinished jobs, all or none."""

    events: tuple[EventRow, ...]

    def __post_init__(self) -> None:
        _refuse_terminal(self.events)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkDispatched:
    """Give the queued job's next attempt to a worker."""

    job_id: JobId
    attempt: int
    pool_id: PoolId
    worker_id: WorkerId
    at_ms: int
    worker_name: str | None = None
    kept_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRunning:
    """Record that the worker took the attempt, with the events that say so."""

    job_id: JobId
    attempt: int
    at_ms: int
    events: tuple[EventRow, ...] = ()

    def __post_init__(self) -> None:
        _refuse_terminal(self.events)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkRequeued:
    """Record that the attempt broke and the job waits again, with the events that say so."""

    job_id: JobId
    attempt: int
    reason: Code
    message: str
    tokens: int
    at_ms: int
    events: tuple[EventRow, ...] = ()

    def __post_init__(self) -> None:
        _refuse_terminal(self.events)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestCancel:
    """Remember that the job shall end; the result is 0 when it was asked before or has ended."""

    job_id: JobId
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishJob:
    """The one terminal transition: state, attempt, last events and usage in one transaction.

    A completed job loses its request; any other keeps it until the purge, for a second look.
    """

    job_id: JobId
    attempt: int
    status: JobStatus
    at_ms: int
    final_events: tuple[EventRow, ...]
    usage: UsageRow | None = None
    code: Code | None = None
    message: str | None = None
    stop_reason: str | None = None
    tokens_out: int = 0
    usage_json: str | None = None
    timings_json: str | None = None
    output: str | None = None
    retain_request: bool = False

    def __post_init__(self) -> None:
        if self.status in ACTIVE_STATUSES:
            raise ValueError(f"{self.status} is not a terminal status")
        if not self.final_events or self.final_events[-1].kind not in TERMINAL_KINDS:
            raise ValueError("a terminal transition ends with its terminal event")
        _refuse_terminal(self.final_events[:-1])

    @property
    def deletes_request(self) -> bool:
        """True when the prompt has served its purpose."""
        return self.status is JobStatus.COMPLETED and not self.retain_request


@dataclass(frozen=True, slots=True)
class PutKey:
    """Add a key, or replace the one of the same id."""

    key: KeyRow


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeKey:
    """End a key; the result is 0 when it is unknown or was revoked before."""

    key_id: KeyId
    at_ms: int


@dataclass(frozen=True, slots=True)
class NoteKeyUse:
    """Remember when keys were last used; the result is how many of them are known."""

    used_at_ms: Mapping[KeyId, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PutPool:
    """Enrol a pool, or replace the one of the same name; keys that it had before end.

    key is a new one that it comes in by from now on.
    """

    pool: PoolRow
    at_ms: int
    key: KeyRow | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DropPool:
    """Forget a pool, its token, and end its keys; the result is 0 when it is not enrolled."""

    pool_id: PoolId
    at_ms: int


@dataclass(frozen=True, slots=True)
class PutJoinToken:
    """Keep a token in the place of its pool's older one; tokens that ran out before it are forgotten."""

    token: JoinTokenRow


@dataclass(frozen=True, slots=True, kw_only=True)
class UseJoinToken:
    """Let a host join: its token is used up, its pool and key are put, all three or nothing.

    Keys that the pool had before end. A token that was used, has run out or was replaced meanwhile
    is stale.
    """

    token_hash: str
    pool: PoolRow
    key: KeyRow
    at_ms: int

    def __post_init__(self) -> None:
        if self.key.pool_id != self.pool.id or self.pool.key_id != self.key.id:
            raise ValueError("a pool that joins and its key name each other")


@dataclass(frozen=True, slots=True)
class RecordUsage:
    """Keep the usage of a call that has no row among the jobs."""

    usage: UsageRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """Delete jobs that ended before a time, the oldest first; the result is their number."""

    before_ms: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Delete the texts of jobs that ended before a time, the oldest first.

    Request, output and all events but the terminal one go; the job stays in the lists. The result
    is the number of jobs.
    """

    before_ms: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgeUsage:
    """Delete usage that ended before a time, the oldest first; the result is the number of rows."""

    before_ms: int
    limit: int


Write = (
    AdmitJob
    | AppendEvents
    | MarkDispatched
    | MarkRunning
    | MarkRequeued
    | RequestCancel
    | FinishJob
    | PutKey
    | RevokeKey
    | NoteKeyUse
    | PutPool
    | DropPool
    | PutJoinToken
    | UseJoinToken
    | RecordUsage
    | Strip
    | Purge
    | PurgeUsage
)
