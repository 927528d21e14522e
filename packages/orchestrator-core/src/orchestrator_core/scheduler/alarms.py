"""What the one timer sets off: silence, orders without a word, backoffs, timeouts.

Each kind is settled in bounded batches; what is left rings again at once.
"""

from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.ids import JobId
from orchestrator_core.scheduler.events import Tick
from orchestrator_core.scheduler.folding import settle
from orchestrator_core.scheduler.loads import (
    abandon_load,
    abandon_start,
    retry_due,
    sweep_condemned,
)
from orchestrator_core.scheduler.pools import judge_pool
from orchestrator_core.scheduler.records import JobRecord, Service
from orchestrator_core.scheduler.retries import wake
from orchestrator_core.scheduler.state import Commands, MachineState
from orchestrator_core.scheduler.timeouts import break_long_attempt, expire_due, expire_unserved

__all__ = ["on_tick"]


def on_tick(state: MachineState, event: Tick, out: Commands) -> None:
    """Settle everything that is due."""
    at, alarms, limit = event.at, state.alarms, state.limits.settle_batch
    state.close_idle_services()
    # Those that wake first: whatever is served next finds them in their old places.
    woken = [state.jobs[job_id] for job_id in alarms.wakeups.pop_until(at, limit)]
    for job in woken:
        wake(state, job)
    for pool_id in alarms.liveness.pop_until(at, limit):
        judge_pool(state, state.pools[pool_id], at, out)
    for worker_id in alarms.starts.pop_until(at, limit):
        worker = state.workers.get(worker_id)
        if worker is not None:
            abandon_start(state, worker, at, out)
    for worker_id in alarms.loads.pop_until(at, limit):
        worker = state.workers.get(worker_id)
        if worker is not None:
            abandon_load(state, worker, at, out)
    for key in alarms.retries.pop_until(at, limit):
        retry_due(state, state.services[key], at, out)
    for key in alarms.sweeps.pop_until(at, limit):
        sweep_condemned(state, state.services[key], at, out)
    _jobs_due(state, {job.service.key: job.service for job in woken}, at, out)


def _jobs_due(
    state: MachineState, touched: dict[ServiceKey, Service], at: float, out: Commands
) -> None:
    alarms, limit = state.alarms, state.limits.settle_batch
    # Serving the slots of one job may have met the next one first: it is gone, or runs by now.
    for job_id in alarms.deadlines.pop_until(at, limit):
        job = _met(state, job_id, touched)
        if job is not None:
            expire_due(state, job, at, out)
    for job_id in alarms.queues.pop_until(at, limit):
        job = _met(state, job_id, touched)
        if job is not None:
            expire_unserved(state, job, at, out)
    for job_id in alarms.attempts.pop_until(at, limit):
        job = _met(state, job_id, touched)
        if job is not None:
            break_long_attempt(state, job, at, out)
    settle(state, [touched[key] for key in sorted(touched)], at, out)


def _met(
    state: MachineState, job_id: JobId, touched: dict[ServiceKey, Service]
) -> JobRecord | None:
    job = state.jobs.get(job_id)
    if job is not None:
        touched[job.service.key] = job.service
    return job
