"""Orders workers for services without one, and counts the starts that came to nothing.

Single flight: while a worker of a service is on its way, no other is ordered for it. After
start_attempts failures in a row the waiting jobs fail with the reason, in bounded batches.
"""

from orchestrator_core.cluster.pools import PoolRecord
from orchestrator_core.cluster.workers import COMING, WorkerRecord
from orchestrator_core.contracts.pool import Owner, WantedWorker, WorkerStatus
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import PoolId
from orchestrator_core.placement.choose import choose_home
from orchestrator_core.placement.filters import HomeNeed
from orchestrator_core.scheduler.commands import StartWorker, StopWorker
from orchestrator_core.scheduler.endings import end_early
from orchestrator_core.scheduler.events import SpawnRefused, WorkerStopRequested
from orchestrator_core.scheduler.state import (
    Commands,
    Failure,
    JobRecord,
    MachineState,
    Service,
)

__all__ = [
    "abandon_start",
    "ensure_supply",
    "forget_order",
    "on_spawn_refused",
    "on_stop_requested",
    "retire",
    "start_failed",
    "start_succeeded",
    "sweep_condemned",
]

# The pool may have the order all the same: the wanted set in its next heartbeat repeats it.
_UNHEARD = frozenset({Code.UNREACHABLE, Code.TIMEOUT})


def ensure_supply(state: MachineState, service: Service, at: float, out: Commands) -> None:
    """Order one worker if jobs wait that no worker serves or is about to serve."""
    if service.condemned is not None or service.retry_at is not None:
        return
    for pin, lane in service.lanes.items():
        head = lane.peek()
        if head is None or service.has_supply(pin):
            continue
        if any(worker.status in COMING for worker in service.workers.values()):
            return
        job = state.jobs[head]
        need = HomeNeed(job.facts.spec, pin, service.strikes)
        choice = choose_home(state.pools.values(), need)
        if choice.chosen is not None:
            _order_start(state, job, choice.chosen, choice.reasons, at, out)
            return


def on_spawn_refused(state: MachineState, event: SpawnRefused, out: Commands) -> None:
    """Count a refused order as a failed start; an order that was not heard stands."""
    worker = state.workers.get(event.worker_id)
    if worker is None or worker.report is not None or not worker.ours:
        state.late_facts += 1
        return
    if event.reason in _UNHEARD:
        return
    service = state.service(worker.key)
    forget_order(state, worker)
    failure = Failure(event.reason, event.message, event.at)
    start_failed(state, service, worker.pool_id, failure, out)


def on_stop_requested(state: MachineState, event: WorkerStopRequested, out: Commands) -> None:
    """Stop a worker at an operator's word, whoever ordered it; running attempts may finish."""
    worker = state.workers.get(event.worker_id)
    if worker is None or worker.stop_ordered:
        state.late_facts += 1
        return
    worker.stop_ordered = True
    out.append(_stop(state.pools[worker.pool_id], worker))
    if worker.report is None:
        state.drop_worker(worker)
    else:
        state.index(worker)
    ensure_supply(state, state.service(worker.key), event.at, out)


def retire(state: MachineState, worker: WorkerRecord, was: WorkerStatus) -> bool:
    """Take a worker that is gone out of service; True if that was a failed start of ours."""
    coming = was in COMING and not worker.was_ready
    failed = coming and worker.ours and worker.usable and not worker.stop_ordered
    state.pools[worker.pool_id].unwant(worker.worker_id)
    state.alarms.starts.discard(worker.worker_id)
    worker.usable = False
    state.index(worker)
    return failed


def abandon_start(state: MachineState, worker: WorkerRecord, at: float, out: Commands) -> None:
    """Give up on an order of which no report ever came."""
    waited_s = state.limits.start_timeout_s
    line = f"pool {worker.pool_id} did not report the worker within {waited_s:.0f} s"
    service = state.service(worker.key)
    out.append(_stop(state.pools[worker.pool_id], worker))
    state.drop_worker(worker)
    failure = Failure(Code.WORKER_START_FAILED, line, at)
    start_failed(state, service, worker.pool_id, failure, out)


def start_failed(
    state: MachineState, service: Service, pool_id: PoolId, failure: Failure, out: Commands
) -> None:
    """Wait before the next start, or condemn the waiting jobs when there were enough."""
    limits = state.limits
    service.failures += 1
    if failure.code is Code.MODEL_INCOMPATIBLE:
        service.failures = max(service.failures, limits.start_attempts)
    service.strikes[pool_id] = service.strikes.get(pool_id, 0) + 1
    service.last_failure = failure
    backoff = limits.start_backoff_s
    service.retry_at = failure.at + backoff[min(service.failures, len(backoff)) - 1]
    state.alarms.retries.set(service.key, service.retry_at)
    if service.failures >= limits.start_attempts:
        service.condemned = failure
        sweep_condemned(state, service, failure.at, out)


def start_succeeded(state: MachineState, service: Service) -> None:
    """A worker came up: what failed before is forgotten."""
    service.failures, service.last_failure, service.retry_at = 0, None, None
    service.strikes.clear()
    state.alarms.retries.discard(service.key)


def sweep_condemned(state: MachineState, service: Service, at: float, out: Commands) -> None:
    """Fail the next batch of jobs that waited when the service was given up."""
    failure = service.condemned
    if failure is None:
        return
    for _ in range(state.limits.settle_batch):
        job = _next_condemned(state, service, failure.at)
        if job is None:
            service.condemned = None
            state.alarms.sweeps.discard(service.key)
            ensure_supply(state, service, at, out)
            return
        end_early(state, job, JobStatus.FAILED, failure.code, failure.message, out)
    state.alarms.sweeps.set(service.key, at)


def forget_order(state: MachineState, worker: WorkerRecord) -> None:
    """Drop an order that its pool never took up."""
    state.pools[worker.pool_id].unwant(worker.worker_id)
    state.drop_worker(worker)


def _next_condemned(state: MachineState, service: Service, before: float) -> JobRecord | None:
    for pin, lane in service.lanes.items():
        key = lane.head_key()
        if key is not None and key[0] <= before and not service.has_supply(pin):
            return state.jobs[key[1]]
    return None


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


def _stop(pool: PoolRecord, worker: WorkerRecord) -> StopWorker:
    pool.unwant(worker.worker_id)
    # A person's worker was never in the wanted set, yet every order has its own revision.
    pool.revision += 1
    return StopWorker(
        pool_id=pool.pool_id,
        worker_id=worker.worker_id,
        generation=worker.generation,
        revision=pool.revision,
    )
