"""What the machine remembers of a job and of a (model, task); only its handlers write here."""

from collections.abc import Collection, Container
from dataclasses import dataclass, field
from typing import NamedTuple

from orchestrator_core.cluster.workers import ServiceKey, WorkerRecord
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.jobs.fairness import FairOrder
from orchestrator_core.jobs.notes import Note
from orchestrator_core.jobs.queue import FairQueue, JobQueue
from orchestrator_core.jobs.ranked_line import Ticket
from orchestrator_core.scheduler.events import JobFacts
from orchestrator_core.scheduler.heaps import KeyedHeap
from orchestrator_core.scheduler.pace import Average

__all__ = ["Failure", "JobRecord", "Offer", "PoolTrouble", "Service"]


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a service has no worker."""

    code: Code
    message: str
    at: float


@dataclass(slots=True, eq=False)
class JobRecord:
    """A job that has not ended; placement fields mean the current attempt.

    `due_at` is when it expires whatever it does. `kept_tokens` is how much of the answer the next
    attempt goes on behind; `tokens` counts the whole answer. `wake_at` is the end of a backoff: until
    then the job waits in no lane.
    """

    facts: JobFacts
    service: "Service"
    due_at: float
    status: JobStatus = JobStatus.QUEUED
    ticket: Ticket | None = None
    attempt: int = 0
    failures: int = 0
    tokens: int = 0
    kept_tokens: int = 0
    wake_at: float | None = None
    worker_id: WorkerId | None = None
    pool_id: PoolId | None = None
    incarnation: int = 0
    dispatched_at: float = 0.0
    first_token_at: float | None = None
    lost_on: set[tuple[WorkerId, int]] | None = None
    notes: list[Note] = field(default_factory=list[Note])


@dataclass(slots=True)
class PoolTrouble:
    """Failed starts of one service on one pool; until then the pool is no home for it."""

    strikes: int = 0
    quarantined_until: float | None = None


class Offer(NamedTuple):
    """What the workers of a service offer together, until one of them changes."""

    slots_open: int
    ctx: int | None
    coming_at: float | None
    workers: tuple[tuple[PoolId, WorkerId], ...]


@dataclass(slots=True, eq=False)
class Service:
    """One sub-queue and the workers that serve it.

    A lane holds the jobs of one pin (None: anywhere), so that a job waiting for its pool never
    stands in the way of others; there may be as many lanes as jobs, so none of the handlers looks
    at lanes whose pool is not there. `waiting` counts the jobs in all lanes. `open` ranks the workers that may take work now by slots in use.
    `condemned` is set while the waiting jobs are being failed in bounded batches, `given_up` from
    then until `retry_at`: new jobs fail at once. `awaited` are pools (None: unknown ones) that may
    still bring a worker that ran before the orchestrator restarted.
    """

    key: ServiceKey
    order: FairOrder
    waiting: int = 0
    lanes: dict[PoolId | None, JobQueue] = field(default_factory=dict[PoolId | None, JobQueue])
    workers: dict[WorkerId, WorkerRecord] = field(default_factory=dict[WorkerId, WorkerRecord])
    open: KeyedHeap[WorkerId] = field(default_factory=KeyedHeap[WorkerId])
    failures: int = 0
    troubles: dict[PoolId, PoolTrouble] = field(default_factory=dict[PoolId, PoolTrouble])
    last_failure: Failure | None = None
    retry_at: float | None = None
    condemned: Failure | None = None
    given_up: Failure | None = None
    condemnations: int = 0
    awaited: set[PoolId | None] = field(default_factory=set[PoolId | None])
    run_s: Average = field(default_factory=Average)
    load_s: Average = field(default_factory=Average)
    offer: Offer | None = None

    def __post_init__(self) -> None:
        # Most services never see a pin.
        self.lanes[None] = FairQueue(self.order)

    def has_supply(self, pin: PoolId | None) -> bool:
        """True when a worker for this lane serves or is on its way."""
        if pin is None:
            return bool(self.workers)
        return any(worker.pool_id == pin for worker in self.workers.values())

    def has_quarantine(self, at: float) -> bool:
        """True while some pool is no home for this service."""
        troubles = self.troubles.values()
        return any((trouble.quarantined_until or 0.0) > at for trouble in troubles)

    def next_head(
        self, pins: Collection[PoolId | None], stuck: Container[tuple[PoolId | None, bool]] = ()
    ) -> Ticket | None:
        """The ticket that is next in these lanes: each class on its own first, then the two."""
        interactive = self._first(pins, stuck, is_batch=False)
        batch = self._first(pins, stuck, is_batch=True)
        if interactive is None or batch is None:
            return interactive or batch
        return batch if self.order.overtakes(batch, interactive) else interactive

    def _first(
        self,
        pins: Collection[PoolId | None],
        stuck: Container[tuple[PoolId | None, bool]],
        *,
        is_batch: bool,
    ) -> Ticket | None:
        best: Ticket | None = None
        for pin in pins:
            lane = None if (pin, is_batch) in stuck else self.lanes.get(pin)
            head = None if lane is None else lane.first_of(is_batch=is_batch)
            if head is not None and (best is None or head < best):
                best = head
        return best
