"""All that the machine knows, and the indexes that make its decisions cheap.

Only the handlers of this package write here; everyone else asks scheduler.machine.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from orchestrator_core import ids
from orchestrator_core.cluster.pools import PoolRecord
from orchestrator_core.cluster.slots import SlotLedger
from orchestrator_core.cluster.workers import COMING, SERVING, ServiceKey, WorkerRecord
from orchestrator_core.contracts.pool import ModelReport, PoolState
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import JobId, PoolId, WorkerId
from orchestrator_core.jobs.notes import Note, remember
from orchestrator_core.jobs.queue import FifoQueue, JobQueue
from orchestrator_core.scheduler.commands import Command
from orchestrator_core.scheduler.events import JobFacts
from orchestrator_core.scheduler.heaps import KeyedHeap

__all__ = [
    "Alarms",
    "Commands",
    "Failure",
    "JobRecord",
    "MachineLimits",
    "MachineState",
    "Service",
]

Commands = list[Command]

_NONCE_BITS: Final = 54
_COUNTER_BITS: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLimits:
    """The numbers of the rules; settle_batch bounds the mass endings of one event."""

    suspect_after_s: float = 15.0
    lost_after_s: float = 45.0
    start_timeout_s: float = 60.0
    start_backoff_s: tuple[float, ...] = (1.0, 2.0, 4.0)
    start_attempts: int = 3
    max_attempts: int = 3
    notes_per_job: int = 8
    shortlist: int = 4
    settle_batch: int = 512


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a service has no worker."""

    code: Code
    message: str
    at: float


@dataclass(slots=True, eq=False)
class JobRecord:
    """A job that has not ended; placement fields mean the current attempt."""

    facts: JobFacts
    service: "Service"
    status: JobStatus = JobStatus.QUEUED
    attempt: int = 0
    failures: int = 0
    tokens: int = 0
    worker_id: WorkerId | None = None
    pool_id: PoolId | None = None
    incarnation: int = 0
    first_token_at: float | None = None
    lost_on: set[tuple[WorkerId, int]] | None = None
    notes: list[Note] = field(default_factory=list[Note])


@dataclass(slots=True, eq=False)
class Service:
    """One sub-queue and the workers that serve it.

    A lane holds the jobs of one pin (None: anywhere), so that a job waiting for its pool never
    stands in the way of others. `open` ranks the workers that may take work now by slots in use.
    `condemned` is set while the waiting jobs are being failed in bounded batches.
    """

    key: ServiceKey
    lanes: dict[PoolId | None, JobQueue] = field(
        default_factory=lambda: {None: FifoQueue()}  # Most services never see a pin.
    )
    workers: dict[WorkerId, WorkerRecord] = field(default_factory=dict[WorkerId, WorkerRecord])
    open: KeyedHeap[WorkerId] = field(default_factory=KeyedHeap[WorkerId])
    failures: int = 0
    strikes: dict[PoolId, int] = field(default_factory=dict[PoolId, int])
    last_failure: Failure | None = None
    retry_at: float | None = None
    condemned: Failure | None = None

    @property
    def waiting(self) -> int:
        """Jobs in the sub-queue."""
        return sum(len(lane) for lane in self.lanes.values())

    def has_supply(self, pin: PoolId | None) -> bool:
        """True when a worker for this lane serves or is on its way."""
        if pin is None:
            return bool(self.workers)
        return any(worker.pool_id == pin for worker in self.workers.values())

    def oldest_lane(self, pins: Iterable[PoolId | None]) -> PoolId | None:
        """The pin of the lane whose head waits longest; None also when all are empty."""
        best: tuple[tuple[float, JobId], PoolId | None] | None = None
        for pin in pins:
            lane = self.lanes.get(pin)
            key = None if lane is None else lane.head_key()
            if key is not None and (best is None or key < best[0]):
                best = (key, pin)
        return None if best is None else best[1]


@dataclass(slots=True, eq=False)
class Alarms:
    """What will be due, by kind; a key that is gone never rings."""

    deadlines: KeyedHeap[JobId] = field(default_factory=KeyedHeap[JobId])
    liveness: KeyedHeap[PoolId] = field(default_factory=KeyedHeap[PoolId])
    starts: KeyedHeap[WorkerId] = field(default_factory=KeyedHeap[WorkerId])
    retries: KeyedHeap[ServiceKey] = field(default_factory=KeyedHeap[ServiceKey])
    sweeps: KeyedHeap[ServiceKey] = field(default_factory=KeyedHeap[ServiceKey])

    def next_at(self) -> float | None:
        """The earliest of all."""
        # Asked after every event: most heaps are empty most of the time.
        first: float | None = None
        for heap in (self.deadlines, self.liveness, self.starts, self.retries, self.sweeps):
            top = heap.top_rank() if heap else None
            if top is not None and (first is None or top < first):
                first = top
        return first


class MachineState:
    """Jobs, services, workers and pools; written by one machine, one event at a time."""

    def __init__(self, *, nonce: int, epoch_ms: int, limits: MachineLimits) -> None:
        self.limits = limits
        self.now = 0.0
        self.jobs: dict[JobId, JobRecord] = {}
        self.services: dict[ServiceKey, Service] = {}
        self.workers: dict[WorkerId, WorkerRecord] = {}
        self.pools: dict[PoolId, PoolRecord] = {}
        self.held_models: dict[str, ModelReport] = {}
        self.slots = SlotLedger()
        self.alarms = Alarms()
        self.waiting = 0
        self.late_facts = 0
        self._nonce = nonce & ((1 << _NONCE_BITS) - 1)
        self._epoch_ms = epoch_ms
        self._made_ids = 0

    def service(self, key: ServiceKey) -> Service:
        """The service of a (model, task), made at the first question."""
        service = self.services.get(key)
        if service is None:
            service = self.services[key] = Service(key)
        return service

    def hold_models(self, pool: PoolRecord, models: tuple[ModelReport, ...]) -> bool:
        """Take a pool's word about its models; tells whether it changed anything.

        The index over all pools is made anew then, since every request asks it and it changes
        seldom.
        """
        if models == pool.models:
            return False
        pool.models = models
        pools = (self.pools[pool_id] for pool_id in sorted(self.pools, reverse=True))
        self.held_models = {report.id: report for it in pools for report in it.models}
        return True

    def make_worker_id(self, at: float) -> WorkerId:
        """A fresh worker id: time and a counter in front, the machine's nonce behind."""
        self._made_ids += 1
        counter = self._made_ids & ((1 << _COUNTER_BITS) - 1)
        bits = counter << _NONCE_BITS | self._nonce
        uuid = ids.compose_uuid7(self._epoch_ms + int(at * 1000), bits)
        return WorkerId(ids.format_id(ids.PREFIX_WORKER, uuid))

    def enqueue(self, job: JobRecord) -> None:
        """Put a job at its place in its lane."""
        lanes, facts = job.service.lanes, job.facts
        lane = lanes.get(facts.pin_pool)
        if lane is None:
            lane = lanes[facts.pin_pool] = FifoQueue()
        lane.enqueue(facts.id, facts.queued_at)
        self.waiting += 1

    def dequeue(self, service: Service, pin: PoolId | None) -> JobRecord:
        """Take the head of a lane that is not empty."""
        lane = service.lanes[pin]
        job_id = lane.dequeue()
        if job_id is None:
            raise LookupError(f"no job waits for {service.key.model} in lane {pin}")
        if pin is not None and not lane:
            del service.lanes[pin]
        self.waiting -= 1
        return self.jobs[job_id]

    def unqueue(self, job: JobRecord) -> None:
        """Take a job out of its lane, wherever it stands; one that never got in is fine."""
        lanes, pin = job.service.lanes, job.facts.pin_pool
        lane = lanes.get(pin)
        if lane is None or not lane.remove(job.facts.id):
            return
        self.waiting -= 1
        if pin is not None and not lane:
            del lanes[pin]

    def note(self, job: JobRecord, at: float, template: str, *args: object) -> None:
        """Remember why something was decided about a job."""
        remember(job.notes, Note(at, template, args), self.limits.notes_per_job)

    def index(self, worker: WorkerRecord) -> None:
        """Bring the indexes in line with a worker after any change of it or its pool."""
        service = self.service(worker.key)
        pool = self.pools[worker.pool_id]
        # A draining pool supplies nobody: what waits must be able to get a worker elsewhere.
        alive = worker.usable and not worker.stop_ordered and not pool.draining
        serving = worker.status in SERVING
        if alive and (serving or worker.status in COMING):
            service.workers[worker.worker_id] = worker
        else:
            service.workers.pop(worker.worker_id, None)
        online = pool.status is PoolState.ONLINE
        worker.open = alive and serving and online and worker.blocked_at is None
        self.rank(service, worker)

    def rank(self, service: Service, worker: WorkerRecord) -> None:
        """Bring the ranking of open workers in line with the slots in use."""
        if worker.open and worker.free > 0:
            service.open.set(worker.worker_id, worker.slots.used)
        else:
            service.open.discard(worker.worker_id)

    def drop_worker(self, worker: WorkerRecord) -> None:
        """Forget a worker; slots that attempts still hold stay counted."""
        worker.usable = worker.open = False
        service = self.service(worker.key)
        service.workers.pop(worker.worker_id, None)
        service.open.discard(worker.worker_id)
        self.workers.pop(worker.worker_id, None)
        self.pools[worker.pool_id].worker_ids.discard(worker.worker_id)
        self.alarms.starts.discard(worker.worker_id)
        self.slots.forget_idle(worker.worker_id)
