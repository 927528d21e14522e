"""What the one timer sets off: silence, orders without a word, backoffs, deadlines.

Each kind is settled in bounded batches; what is left rings again at once.
"""

from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.scheduler.events import Tick
from orchestrator_core.scheduler.matching import expire, serve_freed
from orchestrator_core.scheduler.orders import abandon_start, ensure_supply, sweep_condemned
from orchestrator_core.scheduler.pools import judge_pool, settle
from orchestrator_core.scheduler.state import Commands, MachineState, Service

__all__ = ["on_tick"]


def on_tick(state: MachineState, event: Tick, out: Commands) -> None:
    """Settle everything that is due."""
    at, alarms, limit = event.at, state.alarms, state.limits.settle_batch
    for pool_id in alarms.liveness.pop_until(at, limit):
        judge_pool(state, state.pools[pool_id], at, out)
    for worker_id in alarms.starts.pop_until(at, limit):
        abandon_start(state, state.workers[worker_id], at, out)
    for key in alarms.retries.pop_until(at, limit):
        service = state.services[key]
        service.retry_at = None
        ensure_supply(state, service, at, out)
    for key in alarms.sweeps.pop_until(at, limit):
        sweep_condemned(state, state.services[key], at, out)
    _expire_due(state, at, out)


def _expire_due(state: MachineState, at: float, out: Commands) -> None:
    touched: dict[ServiceKey, Service] = {}
    for job_id in state.alarms.deadlines.pop_until(at, state.limits.settle_batch):
        job = state.jobs.get(job_id)
        # Serving the slots of one expired job may have met the next one first.
        if job is not None:
            touched[job.service.key] = job.service
            serve_freed(state, expire(state, job, out), at, out)
    settle(state, [touched[key] for key in sorted(touched)], at, out)
