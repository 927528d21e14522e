"""Orders that the machine gives. Performers carry them out; a failure comes back as a fact.

Commands of one handled event are performed in the order of the list, and nobody changes one.
"""

from dataclasses import dataclass

from orchestrator_core.contracts.pool import WorkerSpec
from orchestrator_core.contracts.tasks import JobStatus, Timings, Usage
from orchestrator_core.errors import Code
from orchestrator_core.ids import JobId, PoolId, WorkerId

__all__ = [
    "CancelAttempt",
    "Command",
    "Dispatch",
    "Finish",
    "PersistDispatched",
    "PersistRequeued",
    "PersistRunning",
    "StartWorker",
    "StopWorker",
]


# Three of them are made for every placement: unlike the others they are not frozen, because that
# makes an object three times as dear.
@dataclass(slots=True, kw_only=True)
class Dispatch:
    """Open the attempt's one socket to this worker and pump the answer.

    keep_tokens is how much of the answer earlier attempts have made: this one goes on behind it.
    """

    job_id: JobId
    attempt: int
    pool_id: PoolId
    worker_id: WorkerId
    incarnation: int
    keep_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelAttempt:
    """Close the attempt's socket; nothing of it may be shown any more.

    Its slots stay taken until SlotsSeenIdle says that the worker has let go of it.
    """

    job_id: JobId
    attempt: int
    pool_id: PoolId
    worker_id: WorkerId


@dataclass(slots=True, kw_only=True)
class PersistDispatched:
    """Record which worker got the attempt; nobody waits for it.

    kept_tokens is how much of the answer earlier attempts have made.
    """

    job_id: JobId
    attempt: int
    pool_id: PoolId
    worker_id: WorkerId
    kept_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistRunning:
    """Record and tell the readers that the worker took the attempt."""

    job_id: JobId
    attempt: int
    pool_id: PoolId
    worker_id: WorkerId


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistRequeued:
    """Record that the attempt is over and the job waits again; keep_tokens is what stays valid."""

    job_id: JobId
    attempt: int
    reason: Code
    message: str
    tokens: int
    keep_tokens: int


@dataclass(slots=True, kw_only=True)
class Finish:
    """End the job for good: the one terminal transition, attempt 0 if none was ever made."""

    job_id: JobId
    attempt: int
    status: JobStatus
    code: Code | None = None
    message: str | None = None
    stop_reason: str | None = None
    tokens_out: int = 0
    usage: Usage | None = None
    timings: Timings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartWorker:
    """Order a pool to start a worker; the wanted set repeats it with every beat."""

    pool_id: PoolId
    worker_id: WorkerId
    generation: int
    revision: int
    spec: WorkerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class StopWorker:
    """Order a pool to stop a worker."""

    pool_id: PoolId
    worker_id: WorkerId
    generation: int
    revision: int


Command = (
    Dispatch
    | CancelAttempt
    | PersistDispatched
    | PersistRunning
    | PersistRequeued
    | Finish
    | StartWorker
    | StopWorker
)
