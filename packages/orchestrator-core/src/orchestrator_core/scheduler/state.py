"""All that the machine knows, and the indexes that make its decisions cheap.

Only the handlers of this package write here; everyone else asks scheduler.machine.
"""

from typing import Final

from orchestrator_core import ids
from orchestrator_core.cluster.pools import PoolRecord
from orchestrator_core.cluster.slots import SlotLedger
from orchestrator_core.cluster.workers import COMING, SERVING, ServiceKey, WorkerRecord
from orchestrator_core.contracts.pool import ModelReport, PoolState
from orchestrator_core.contracts.tasks import Priority
from orchestrator_core.ids import JobId, PoolId, WorkerId
from orchestrator_core.jobs.fairness import FairOrder
from orchestrator_core.jobs.notes import Note, remember
from orchestrator_core.jobs.queue import FairQueue
from orchestrator_core.scheduler.commands import Command
from orchestrator_core.scheduler.due import Alarms
from orchestrator_core.scheduler.limits import MachineLimits
from orchestrator_core.scheduler.pace import Beat
from orchestrator_core.scheduler.records import JobRecord, Service

__all__ = ["Commands", "MachineState"]

Commands = list[Command]

_NONCE_BITS: Final = 54
_COUNTER_BITS: Final = 20
_SERVICES_MIN: Final = 256


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
        self.endings = Beat()
        self.waiting = 0
        self.late_facts = 0
        self.began_at: float | None = None
        self.brake_since: float | None = None
        self._nonce = nonce & ((1 << _NONCE_BITS) - 1)
        self._epoch_ms = epoch_ms
        self._services_max = _SERVICES_MIN
        self._made_ids = 0

    def service(self, key: ServiceKey) -> Service:
        """The service of a (model, task), made at the first question."""
        service = self.services.get(key)
        if service is None:
            order = FairOrder(self.limits.batch_patience_s)
            service = self.services[key] = Service(key, order)
        return service

    def close_idle_services(self) -> None:
        """Forget services of which nothing is left, once there are many more than are in use.

        What people ask for changes over the months; a model that nobody asks for again costs nothing.
        """
        if len(self.services) <= self._services_max:
            return
        used = {job.service.key for job in self.jobs.values()}
        used.update(worker.key for worker in self.workers.values())
        self.services = {
            key: service
            for key, service in self.services.items()
            if key in used or service.retry_at is not None or service.has_quarantine(self.now)
        }
        self._services_max = max(_SERVICES_MIN, 2 * len(self.services))

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
        """Put a job at its place in its lane; one that was here before has its old place."""
        service, facts = job.service, job.facts
        ticket = job.ticket
        if ticket is None:
            ticket = job.ticket = service.order.draw(
                facts.id,
                facts.key_id,
                queued_at=facts.queued_at,
                is_batch=facts.priority is Priority.BATCH,
                slots=facts.slots,
                weight=facts.weight,
            )
        lane = service.lanes.get(facts.pin_pool)
        if lane is None:
            lane = service.lanes[facts.pin_pool] = FairQueue(service.order)
        lane.enqueue(ticket)
        service.waiting += 1
        self.waiting += 1

    def dequeue(self, job: JobRecord) -> None:
        """Take a job out of its lane because its turn has come."""
        if job.ticket is None:
            raise LookupError(f"{job.facts.id} never waited")
        lanes, pin = job.service.lanes, job.facts.pin_pool
        lane = lanes[pin]
        lane.serve(job.ticket)
        if pin is not None and not lane:
            del lanes[pin]
        job.service.waiting -= 1
        self.waiting -= 1

    def unqueue(self, job: JobRecord) -> None:
        """Take a job out of its lane or its backoff; one that never got in is fine."""
        if job.wake_at is not None:
            job.wake_at = None
            self.alarms.wakeups.discard(job.facts.id)
            return
        lanes, pin = job.service.lanes, job.facts.pin_pool
        lane = lanes.get(pin)
        if lane is None or job.ticket is None or not lane.remove(job.ticket):
            return
        job.service.waiting -= 1
        self.waiting -= 1
        if pin is not None and not lane:
            del lanes[pin]

    def note(self, job: JobRecord, at: float, template: str, *args: object) -> None:
        """Remember why something was decided about a job."""
        remember(job.notes, Note(at, template, args), self.limits.notes_per_job)

    def index(self, worker: WorkerRecord) -> None:
        """Bring the indexes in line with a worker after any change of it or its pool."""
        service = self.service(worker.key)
        service.offer = None
        pool = self.pools[worker.pool_id]
        # A draining pool supplies nobody: what waits must be able to get a worker elsewhere.
        alive = worker.usable and not worker.stop_ordered and not pool.draining
        serving = worker.status in SERVING
        if alive and (serving or (worker.status in COMING and not worker.overdue)):
            service.workers[worker.worker_id] = worker
        else:
            service.workers.pop(worker.worker_id, None)
        online = pool.status is PoolState.ONLINE
        worker.open = alive and serving and online and worker.blocked_at is None
        self.watch_load(worker)
        self.rank(service, worker)

    def watch_load(self, worker: WorkerRecord) -> None:
        """Time how long a worker comes, as long as it does and nobody gave it up."""
        loads = self.alarms.loads
        if worker.status in COMING and worker.usable and not worker.stop_ordered:
            if not worker.overdue:
                loads.set(worker.worker_id, worker.came_at + self.limits.load_timeout_s)
        else:
            worker.overdue = False
            loads.discard(worker.worker_id)

    def rank(self, service: Service, worker: WorkerRecord) -> None:
        """Bring the ranking of open workers in line with the slots in use."""
        if worker.open and worker.free > 0:
            service.open.set(worker.worker_id, worker.slots.used)
        else:
            service.open.discard(worker.worker_id)

    def drop_worker(self, worker: WorkerRecord) -> None:
        """Forget a worker; slots that attempts still hold stay counted, those let go do not."""
        worker.usable = worker.open = False
        service = self.service(worker.key)
        service.offer = None
        service.workers.pop(worker.worker_id, None)
        service.open.discard(worker.worker_id)
        self.workers.pop(worker.worker_id, None)
        self.pools[worker.pool_id].worker_ids.discard(worker.worker_id)
        self.alarms.starts.discard(worker.worker_id)
        self.alarms.loads.discard(worker.worker_id)
        worker.slots.let_all_go()
        self.slots.forget_idle(worker.worker_id)
