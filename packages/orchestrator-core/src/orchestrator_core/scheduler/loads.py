"""Starts of workers that come to nothing: backoff, quarantine of a pool, giving a service up.

After start_attempts failures in a row the waiting jobs fail with the reason, in bounded batches,
and new ones fail at once until a pause is over or something has changed that may help.
"""

from collections.abc import Iterator
from itertools import islice

from orchestrator_core.cluster.workers import WorkerRecord
from orchestrator_core.contracts.pool import PoolState
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import JobId, PoolId
from orchestrator_core.scheduler.endings import end_early
from orchestrator_core.scheduler.events import SpawnRefused
from orchestrator_core.scheduler.orders import ensure_supply, forget_order, order_stop
from orchestrator_core.scheduler.records import Failure, PoolTrouble, Service
from orchestrator_core.scheduler.state import Commands, MachineState
from orchestrator_core.units import format_duration

__all__ = [
    "FINAL",
    "abandon_load",
    "abandon_start",
    "has_given_up",
    "on_spawn_refused",
    "retry_due",
    "revive",
    "start_failed",
    "start_succeeded",
    "sweep_condemned",
]

FINAL = frozenset({Code.MODEL_INCOMPATIBLE, Code.CONVERSION_REQUIRED})
"""Failures that say something about the model itself: no further start will do better."""

# The pool may have the order all the same: the wanted set in its next heartbeat repeats it.
_UNHEARD = frozenset({Code.UNREACHABLE, Code.TIMEOUT})


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


def abandon_start(state: MachineState, worker: WorkerRecord, at: float, out: Commands) -> None:
    """Give up on an order of which no report ever came, once its pool is there to report."""
    if _is_silent(state, worker):
        state.alarms.starts.set(worker.worker_id, at + state.limits.suspect_after_s)
        return
    waited_s = state.limits.start_timeout_s
    line = f"pool {worker.pool_id} did not report the worker within {waited_s:.0f} s"
    service = state.service(worker.key)
    order_stop(state, worker, out)
    failure = Failure(Code.WORKER_START_FAILED, line, at)
    start_failed(state, service, worker.pool_id, failure, out)


def abandon_load(state: MachineState, worker: WorkerRecord, at: float, out: Commands) -> None:
    """Give up on a worker that comes and comes; ours is stopped, a person's may go on."""
    if _is_silent(state, worker):
        state.alarms.loads.set(worker.worker_id, at + state.limits.suspect_after_s)
        return
    limit = format_duration(state.limits.load_timeout_s)
    name = worker.worker_id if worker.report is None else worker.report.name
    line = f"worker {name} on pool {worker.pool_id} was not ready after {limit}"
    service = state.service(worker.key)
    worker.overdue = True
    if worker.ours:
        order_stop(state, worker, out)
    else:
        state.index(worker)
    failure = Failure(Code.WORKER_START_FAILED, line, at)
    start_failed(state, service, worker.pool_id, failure, out)


def start_failed(
    state: MachineState, service: Service, pool_id: PoolId, failure: Failure, out: Commands
) -> None:
    """Wait before the next start, or condemn the waiting jobs when there were enough."""
    limits = state.limits
    service.failures += 1
    if failure.code in FINAL:
        service.failures = max(service.failures, limits.start_attempts)
    service.last_failure = failure
    _strike(state, service, pool_id, failure.at)
    backoff = limits.start_backoff_s
    pause_s = backoff[min(service.failures, len(backoff)) - 1]
    gives_up = service.failures >= limits.start_attempts
    if gives_up:
        doubled_s = limits.negative_s * 2.0 ** min(service.condemnations, 32)
        pause_s = min(doubled_s, limits.negative_max_s)
        service.condemned = service.given_up = failure
        service.condemnations += 1
    service.retry_at = failure.at + pause_s
    state.alarms.retries.set(service.key, service.retry_at)
    if gives_up:
        sweep_condemned(state, service, failure.at, out)


def start_succeeded(
    state: MachineState, service: Service, worker: WorkerRecord, load_s: float | None
) -> None:
    """A worker came up, after a time if we saw it come: what failed before is forgotten."""
    service.troubles.pop(worker.pool_id, None)
    if load_s is not None:
        service.load_s.add(max(0.0, load_s))
    revive(state, service)


def revive(state: MachineState, service: Service) -> None:
    """Try a service again from the start: something has changed that may help."""
    service.failures, service.last_failure, service.retry_at = 0, None, None
    service.condemned = service.given_up = None
    service.condemnations = 0
    service.awaited.clear()
    state.alarms.retries.discard(service.key)
    state.alarms.sweeps.discard(service.key)


def retry_due(state: MachineState, service: Service, at: float, out: Commands) -> None:
    """The pause of a service is over: the next job that waits has a worker ordered again."""
    service.retry_at = service.given_up = None
    service.awaited.clear()
    ensure_supply(state, service, at, out)


def has_given_up(service: Service, pin: PoolId | None, at: float) -> Refusal | None:
    """Why a job that comes now would fail at once; None: it may wait."""
    failure = service.given_up
    if failure is None or service.has_supply(pin):
        return None
    left_s = max(1, round((service.retry_at or at) - at))
    if failure.code in FINAL:
        return Refusal(failure.code, failure.message, retry_after_s=left_s)
    line = f"{service.key.model} cannot be served for now: {failure.message}"
    return Refusal(Code.NO_CAPACITY, line, {"reason": failure.code}, retry_after_s=left_s)


def sweep_condemned(state: MachineState, service: Service, at: float, out: Commands) -> None:
    """Fail the next batch of jobs that waited when the service was given up."""
    failure = service.condemned
    if failure is None:
        return
    for job_id in islice(_condemned(service), state.limits.settle_batch):
        job = state.jobs[job_id]
        end_early(state, job, JobStatus.FAILED, failure.code, failure.message, out)
    if next(_condemned(service), None) is not None:
        state.alarms.sweeps.set(service.key, at)
        return
    service.condemned = None
    state.alarms.sweeps.discard(service.key)
    ensure_supply(state, service, at, out)


def _is_silent(state: MachineState, worker: WorkerRecord) -> bool:
    # The silence of a pool has its own end: it is heard, and says how far the worker is, or lost.
    return state.pools[worker.pool_id].status is PoolState.SUSPECT


def _strike(state: MachineState, service: Service, pool_id: PoolId, at: float) -> None:
    limits = state.limits
    trouble = service.troubles.setdefault(pool_id, PoolTrouble())
    trouble.strikes += 1
    beyond = trouble.strikes - limits.quarantine_strikes
    if beyond >= 0:
        doubled_s = limits.quarantine_s * 2.0 ** min(beyond, 32)
        trouble.quarantined_until = at + min(doubled_s, limits.quarantine_max_s)


def _condemned(service: Service) -> Iterator[JobId]:
    """The jobs that no worker serves, one after the other while the taker ends them."""
    for pin, lane in list(service.lanes.items()):
        if not service.has_supply(pin):
            while (head := lane.peek()) is not None:
                yield head
