"""Facts that the machine is told. Every one carries `at`, in seconds of the orchestrator's clock.

Facts come from the API (arrivals, cancels), the pumps (attempts), the pools (registers, beats)
and the loop's one timer (ticks). No fact carries token text.
"""

from dataclasses import dataclass

from orchestrator_core.contracts.pool import DeviceReport, ModelReport, WorkerReport, WorkerSpec
from orchestrator_core.contracts.tasks import Priority, TaskKind, Timings, Usage
from orchestrator_core.errors import Code
from orchestrator_core.ids import JobId, KeyId, PoolId, SessionId, WorkerId

__all__ = [
    "AttemptAccepted",
    "AttemptBroken",
    "AttemptEnded",
    "AttemptProgress",
    "CancelRequested",
    "Event",
    "FirstToken",
    "JobArrived",
    "JobFacts",
    "JobRestored",
    "PoolBeat",
    "PoolForgotten",
    "PoolRegistered",
    "SlotsSeenIdle",
    "SpawnRefused",
    "Tick",
    "WorkerStopRequested",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What the machine must know of a job; the words of it stay outside."""

    id: JobId
    model: str
    task: TaskKind
    priority: Priority
    key_id: KeyId
    spec: WorkerSpec
    queued_at: float
    deadline_at: float | None = None
    slots: int = 1
    durable: bool = True
    pin_pool: PoolId | None = None
    weight: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class JobArrived:
    """A job passed admission; a durable one is already on disk."""

    at: float
    job: JobFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRestored:
    """A row came back after a restart; attempt is the last one it had (0: none yet).

    pool_id is where an attempt ran that was alive, if that is known.
    """

    at: float
    job: JobFacts
    attempt: int
    was_alive: bool
    tokens_kept: int = 0
    resumable: bool = False
    cancel_requested: bool = False
    pool_id: PoolId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """The client, an operator or a dropped connection wants the job to stop."""

    at: float
    job_id: JobId


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptAccepted:
    """The worker answered with a response head."""

    at: float
    job_id: JobId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstToken:
    """The first text of the attempt arrived."""

    at: float
    job_id: JobId
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptProgress:
    """Tokens so far, at most once a second per attempt."""

    at: float
    job_id: JobId
    attempt: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded:
    """The worker finished the answer."""

    at: float
    job_id: JobId
    attempt: int
    stop_reason: str
    tokens_out: int
    usage: Usage | None
    timings: Timings | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptBroken:
    """The attempt came to nothing; `retriable` says whether another worker may do better.

    `resumable` says that the next attempt can go on behind the tokens that are kept; `computing`
    says that the worker may still be at work on it, so that its slots are not free yet.
    """

    at: float
    job_id: JobId
    attempt: int
    reason: Code
    message: str
    retriable: bool
    tokens_kept: int = 0
    resumable: bool = False
    computing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SlotsSeenIdle:
    """The worker has let go of an attempt that was cut short; its slots are free now.

    Told exactly once for every CancelAttempt and for every AttemptBroken that was `computing`.
    """

    at: float
    job_id: JobId
    attempt: int
    worker_id: WorkerId


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRegistered:
    """A pool opened a session; a newer session fences the older."""

    at: float
    pool_id: PoolId
    session_id: SessionId
    devices: tuple[DeviceReport, ...]
    workers: tuple[WorkerReport, ...]
    models: tuple[ModelReport, ...]
    engines: tuple[str, ...]
    endpoint: str = ""
    version: str = ""
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolBeat:
    """A pool's full word about its devices and workers; models is None where they are as before."""

    at: float
    pool_id: PoolId
    session_id: SessionId
    devices: tuple[DeviceReport, ...]
    workers: tuple[WorkerReport, ...]
    models: tuple[ModelReport, ...] | None = None
    draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolForgotten:
    """A pool was removed: it and its workers are known no longer; attempts go on by themselves."""

    at: float
    pool_id: PoolId


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnRefused:
    """A pool would not or could not take an order to start a worker."""

    at: float
    pool_id: PoolId
    worker_id: WorkerId
    reason: Code
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStopRequested:
    """An operator wants a worker gone."""

    at: float
    worker_id: WorkerId


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """The alarm that the machine asked for has rung."""

    at: float


Event = (
    JobArrived
    | JobRestored
    | CancelRequested
    | AttemptAccepted
    | FirstToken
    | AttemptProgress
    | AttemptEnded
    | AttemptBroken
    | SlotsSeenIdle
    | PoolRegistered
    | PoolBeat
    | PoolForgotten
    | SpawnRefused
    | WorkerStopRequested
    | Tick
)
