"""What must hold after every event; a breach is a bug of ours and stops whoever asked.

The checks recompute from the records what the indexes claim, so they cost a scan of everything.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from orchestrator_core.cluster.workers import COMING, SERVING, WorkerRecord
from orchestrator_core.contracts.pool import PoolState
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.ids import JobId, WorkerId
from orchestrator_core.jobs.states import TERMINAL
from orchestrator_core.placement.choose import choose_home
from orchestrator_core.placement.filters import HomeNeed
from orchestrator_core.scheduler.matching import next_for
from orchestrator_core.scheduler.records import JobRecord, Service
from orchestrator_core.scheduler.state import MachineState

__all__ = ["InvariantBroken", "check"]


class InvariantBroken(RuntimeError):  # noqa: N818 - the name of a fact, like InvalidTransition
    """The state contradicts itself."""


def check(state: MachineState) -> None:
    """Raise InvariantBroken with one line per breach."""
    breaches = [
        *_jobs(state),
        *_slots(state),
        *_workers(state),
        *_pools(state),
        *_services(state),
        *_alarms(state),
    ]
    if breaches:
        raise InvariantBroken("; ".join(breaches))


def _jobs(state: MachineState) -> Iterator[str]:
    queued = 0
    for job_id, job in state.jobs.items():
        lane = job.service.lanes.get(job.facts.pin_pool)
        waits = lane is not None and job.ticket is not None and job.ticket in lane
        if job.status in TERMINAL:
            yield f"{job_id} has ended as {job.status} and is still known"
        elif job.status is JobStatus.QUEUED:
            queued += waits
            if waits == (job.wake_at is not None) or job.worker_id is not None:
                yield f"{job_id} waits but is in no lane, or pauses in one, or still has a worker"
        elif waits or job.wake_at is not None or not _holds(state, job):
            yield f"{job_id} is {job.status} but waits in a lane or holds no slot"
        if job.kept_tokens > job.tokens:
            yield f"{job_id} keeps {job.kept_tokens} tokens of {job.tokens}"
    counted = sum(service.waiting for service in state.services.values())
    if not queued == counted == state.waiting:
        yield f"{queued} jobs wait, lanes hold {counted}, the count says {state.waiting}"


def _holds(state: MachineState, job: JobRecord) -> bool:
    slots = None if job.worker_id is None else state.slots.of(job.worker_id)
    return slots is not None and (job.facts.id, job.attempt) in slots.holds


def _slots(state: MachineState) -> Iterator[str]:
    holders: Counter[JobId] = Counter()
    for worker_id, slots in state.slots.items():
        live = slots.holds.keys() - slots.lingering
        holders.update(job_id for job_id, _ in live)
        if not slots.lingering <= slots.holds.keys():
            yield f"{worker_id} lets go of attempts that hold nothing"
        if slots.lingering and worker_id not in state.workers:
            yield f"{worker_id} is not known, yet attempts linger there"
        if slots.used != sum(slots.holds.values()):
            yield f"{worker_id} counts {slots.used} slots, its attempts hold others"
        if slots.used > slots.peak:
            yield f"{worker_id} has {slots.used} slots in use of {slots.peak}"
        for job_id, attempt in live:
            job = state.jobs.get(job_id)
            if job is None or job.attempt != attempt or job.worker_id != worker_id:
                yield f"{worker_id} holds slots for {job_id}/{attempt}, which is not there"
        if not slots.holds and worker_id not in state.workers:
            yield f"the slots of {worker_id} are kept for nobody"
    yield from (f"{job_id} holds slots twice" for job_id, n in holders.items() if n > 1)


def _workers(state: MachineState) -> Iterator[str]:
    for worker_id, worker in state.workers.items():
        pool = state.pools.get(worker.pool_id)
        if pool is None or worker_id not in pool.worker_ids:
            yield f"{worker_id} belongs to no pool"
            continue
        service = state.service(worker.key)
        alive = worker.usable and not worker.stop_ordered and worker.status in COMING | SERVING
        alive = alive and not pool.draining and not worker.overdue
        online = pool.status is PoolState.ONLINE and worker.blocked_at is None
        if alive != (worker_id in service.workers):
            yield f"{worker_id} is {worker.status}, its service's list disagrees"
        if worker.open != (alive and online and worker.status in SERVING):
            yield f"{worker_id} is {worker.status} but open is {worker.open}"
        yield from _ranked(service, worker)
        wanted = worker.ours and worker.usable and not worker.stop_ordered
        if wanted != (worker_id in pool.wanted):
            yield f"{worker_id}: usable is {worker.usable}, the wanted set disagrees"


def _ranked(service: Service, worker: WorkerRecord) -> Iterator[str]:
    expected = worker.slots.used if worker.open and worker.free > 0 else None
    if service.open.rank(worker.worker_id) != expected:
        yield f"{worker.worker_id} has {worker.free} slots free, its rank disagrees"


def _pools(state: MachineState) -> Iterator[str]:
    listed: set[WorkerId] = set()
    for pool_id, pool in state.pools.items():
        listed |= pool.worker_ids
        if pool.status is PoolState.LOST and (pool.worker_ids or pool.wanted):
            yield f"pool {pool_id} is lost but keeps workers"
        if not pool.wanted.keys() <= pool.worker_ids:
            yield f"pool {pool_id} is to run workers that are not known"
    if listed != state.workers.keys():
        yield "the pools' lists and the list of workers differ"


def _services(state: MachineState) -> Iterator[str]:
    for service in state.services.values():
        name = f"{service.key.model}/{service.key.task}"
        known = service.workers.keys() <= state.workers.keys()
        if not known or len(service.open) > len(service.workers):
            yield f"{name} lists workers that are not known"
            continue
        yield from _idle_beside_waiting(state, service, name)
        if service.condemned is None and service.retry_at is None:
            yield from _unserved(state, service, name)
        if sum(not worker.was_ready and worker.report is None for worker in _ours(service)) > 1:
            yield f"{name} has more than one order under way"


def _ours(service: Service) -> Iterator[WorkerRecord]:
    return (worker for worker in service.workers.values() if worker.ours)


def _idle_beside_waiting(state: MachineState, service: Service, name: str) -> Iterator[str]:
    for worker in service.workers.values():
        if worker.open and worker.free > 0:
            job = next_for(state, service, worker.pool_id)
            if job is None or job.due_at <= state.now:
                # Jobs that are due may be too many for one event; their alarm goes on with them.
                continue
            if min(job.facts.slots, worker.slots_total) <= worker.free:
                yield f"{name}: {worker.worker_id} has a free slot and {job.facts.id} waits"


def _unserved(state: MachineState, service: Service, name: str) -> Iterator[str]:
    if any(worker.status in COMING for worker in service.workers.values()):
        return
    for pin, lane in service.lanes.items():
        head = lane.peek()
        if head is not None and not service.has_supply(pin):
            need = HomeNeed(state.jobs[head].facts.spec, pin)
            if choose_home(state.pools.values(), need).chosen is not None:
                yield f"{name}: {head} waits, no worker was ordered though a pool could run one"


def _alarms(state: MachineState) -> Iterator[str]:
    alarms = state.alarms
    for job_id, job in state.jobs.items():
        untaken = job.status is JobStatus.QUEUED and job.attempt == 0
        armed = (
            ("end", True, job_id in alarms.deadlines),
            ("worker", untaken, job_id in alarms.queues),
            ("attempt", job.worker_id is not None, job_id in alarms.attempts),
            ("pause", job.wake_at is not None, job_id in alarms.wakeups),
        )
        yield from _disagreements(job_id, armed)
    for pool_id, pool in state.pools.items():
        if (pool.status is PoolState.LOST) == (pool_id in alarms.liveness):
            yield f"pool {pool_id} is {pool.status}, its alarm disagrees"
    for worker_id, worker in state.workers.items():
        comes = worker.status in COMING and worker.usable and not worker.stop_ordered
        armed = (
            ("report", worker.report is None, worker_id in alarms.starts),
            ("load", comes and not worker.overdue, worker_id in alarms.loads),
        )
        yield from _disagreements(worker_id, armed)
    for key, service in state.services.items():
        armed = (
            ("retry", service.retry_at is not None, key in alarms.retries),
            ("sweep", service.condemned is not None, key in alarms.sweeps),
        )
        yield from _disagreements(f"{key.model}/{key.task}", armed)
        if service.retry_at is None and (service.given_up or service.awaited):
            yield f"{key.model}/{key.task} was given up or waits for pools without an end"
    sizes = {"deadlines": len(alarms.deadlines), "jobs": len(state.jobs)}
    if len(set(sizes.values())) > 1:
        yield f"alarms ring for jobs that are gone: {sizes}"


def _disagreements(name: str, armed: Iterable[tuple[str, bool, bool]]) -> Iterator[str]:
    for kind, due, has_alarm in armed:
        if due != has_alarm:
            yield f"{name} waits for its {kind} without an alarm or the reverse"
