"""Orders workers for services without one, and takes back what nobody wants any more.

Single flight: while a worker of a service is on its way, no other is ordered for it.
"""

from collections.abc import Collection, Iterable, Mapping

from orchestrator_core.cluster.pools import PoolRecord
from orchestrator_core.cluster.workers import COMING, WorkerRecord
from orchestrator_core.contracts.pool import Owner, WantedWorker, WorkerStatus
from orchestrator_core.ids import PoolId
from orchestrator_core.placement.choose import Choice, choose_home
from orchestrator_core.placement.filters import HomeNeed
from orchestrator_core.scheduler.commands import StartWorker, StopWorker
from orchestrator_core.scheduler.events import WorkerStopRequested
from orchestrator_core.scheduler.records import JobRecord, Service
from orchestrator_core.scheduler.state import Commands, MachineState
from orchestrator_core.units import format_duration

__all__ = [
    "choose_home_for",
    "ensure_lane",
    "ensure_supply",
    "forget_order",
    "home_need",
    "on_stop_requested",
    "order_stop",
    "quarantine",
    "retire",
]


def ensure_supply(state: MachineState, service: Service, at: float, out: Commands) -> None:
    """Order one worker if jobs wait that no worker serves or is about to serve."""
    if not _may_order(service):
        return
    best: tuple[int, JobRecord, PoolRecord, tuple[str, ...]] | None = None
    for pin in _known_pins(state, service):
        job = _unsupplied(state, service, pin)
        home = None if job is None else choose_home_for(state, job, at)
        if job is None or home is None or home.chosen is None:
            continue
        trouble = service.troubles.get(home.chosen.pool_id)
        strikes = 0 if trouble is None else trouble.strikes
        if best is None or strikes < best[0]:
            best = strikes, job, home.chosen, home.reasons
        if not strikes:
            break
    if best is not None:
        # What keeps failing on one pool must not keep those waiting who want another.
        _order_start(state, best[1], best[2], best[3], at, out)


def ensure_lane(state: MachineState, lane_of: JobRecord, at: float, out: Commands) -> None:
    """Do the same after a job came or went: nothing has changed for lanes other than its own."""
    service, pin = lane_of.service, lane_of.facts.pin_pool
    if not _may_order(service):
        return
    job = _unsupplied(state, service, pin)
    home = None if job is None else choose_home_for(state, job, at)
    if job is not None and home is not None and home.chosen is not None:
        _order_start(state, job, home.chosen, home.reasons, at, out)


def home_need(job: JobRecord, at: float) -> HomeNeed:
    """What a worker for this job asks of a pool, with what went wrong before."""
    troubles = job.service.troubles
    strikes = {pool_id: trouble.strikes for pool_id, trouble in troubles.items()}
    return HomeNeed(job.facts.spec, job.facts.pin_pool, strikes, quarantine(job.service, at))


def quarantine(service: Service, at: float) -> Mapping[PoolId, str]:
    """The pools that are no home for a service for now, each with the reason."""
    reasons: dict[PoolId, str] = {}
    for pool_id, trouble in service.troubles.items():
        until = trouble.quarantined_until
        if until is not None and until > at:
            left = format_duration(until - at)
            reasons[pool_id] = (
                f"is set aside for {service.key.model} for {left}: "
                f"{trouble.strikes} starts failed there"
            )
    return reasons


def on_stop_requested(state: MachineState, event: WorkerStopRequested, out: Commands) -> None:
    """Stop a worker at an operator's word, whoever ordered it; running attempts may finish."""
    worker = state.workers.get(event.worker_id)
    if worker is None or worker.stop_ordered:
        state.late_facts += 1
        return
    order_stop(state, worker, out)
    ensure_supply(state, state.service(worker.key), event.at, out)


def order_stop(state: MachineState, worker: WorkerRecord, out: Commands) -> None:
    """Have a pool stop a worker; one of which no report came is forgotten at once."""
    worker.stop_ordered = True
    pool = state.pools[worker.pool_id]
    pool.unwant(worker.worker_id)
    # A person's worker was never in the wanted set, yet every order has its own revision.
    pool.revision += 1
    out.append(
        StopWorker(
            pool_id=pool.pool_id,
            worker_id=worker.worker_id,
            generation=worker.generation,
            revision=pool.revision,
        )
    )
    if worker.report is None:
        state.drop_worker(worker)
    else:
        state.index(worker)


def retire(state: MachineState, worker: WorkerRecord, was: WorkerStatus) -> bool:
    """Take a worker that is gone out of service; True if that was a failed start of ours."""
    coming = was in COMING and not worker.was_ready
    failed = coming and worker.ours and worker.usable and not worker.stop_ordered
    state.pools[worker.pool_id].unwant(worker.worker_id)
    state.alarms.starts.discard(worker.worker_id)
    worker.usable = False
    state.index(worker)
    return failed


def forget_order(state: MachineState, worker: WorkerRecord) -> None:
    """Drop an order that its pool never took up."""
    state.pools[worker.pool_id].unwant(worker.worker_id)
    state.drop_worker(worker)


def choose_home_for(state: MachineState, job: JobRecord, at: float) -> Choice[PoolRecord]:
    """Choose a pool for a worker that takes this job; a pinned job needs only one looked at."""
    need, pin = home_need(job, at), job.facts.pin_pool
    pools = state.pools.values() if pin is None else _only(state.pools.get(pin))
    choice = choose_home(pools, need)
    if choice.chosen is not None or not need.quarantine:
        return choice
    # The last possible home is tried all the same: better a slow answer than none.
    return choose_home(pools, HomeNeed(need.spec, need.pool_id, need.strikes))


def _only(pool: PoolRecord | None) -> Collection[PoolRecord]:
    return () if pool is None else (pool,)


def _may_order(service: Service) -> bool:
    if not service.waiting or service.condemned is not None or service.retry_at is not None:
        return False
    return not any(worker.status in COMING for worker in service.workers.values())


def _known_pins(state: MachineState, service: Service) -> Iterable[PoolId | None]:
    """The lanes for which a worker can be ordered at all; neither list is read where it is long."""
    lanes, pools = service.lanes, state.pools
    if len(lanes) <= len(pools):
        return [pin for pin in lanes if pin is None or pin in pools]
    return [None, *(pool_id for pool_id in pools if pool_id in lanes)]


def _unsupplied(state: MachineState, service: Service, pin: PoolId | None) -> JobRecord | None:
    """The first job of a lane that no worker serves or is about to serve."""
    lane = service.lanes.get(pin)
    head = None if lane is None else lane.peek()
    return None if head is None or service.has_supply(pin) else state.jobs[head]


def _order_start(
    state: MachineState,
    job: JobRecord,
    pool: PoolRecord,
    reasons: tuple[str, ...],
    at: float,
    out: Commands,
) -> None:
    service, spec = job.service, job.facts.spec
    worker_id = state.make_worker_id(at)
    worker = WorkerRecord(
        worker_id=worker_id,
        pool_id=pool.pool_id,
        key=service.key,
        owner=Owner.ORCHESTRATOR,
        spec=spec,
        slots=state.slots.of(worker_id),
        slots_total=spec.parallel or 1,
        status_since=at,
        came_at=at,
        usable=True,
    )
    revision = pool.want(WantedWorker(worker_id=worker_id, generation=1, spec=spec))
    state.workers[worker_id] = worker
    pool.worker_ids.add(worker_id)
    state.index(worker)
    state.alarms.starts.set(worker_id, at + state.limits.start_timeout_s)
    state.note(job, at, "worker {} was ordered: {}", worker_id, "; ".join(reasons))
    out.append(
        StartWorker(
            pool_id=pool.pool_id,
            worker_id=worker_id,
            generation=worker.generation,
            revision=revision,
            spec=spec,
        )
    )
