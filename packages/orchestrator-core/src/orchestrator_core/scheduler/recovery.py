"""After a restart: waits for pools that may bring back what ran, before anything is ordered anew.

A job whose attempt was alive had a worker somewhere. The pool that has it, if it is known, is
waited for until it registers; else every living pool has spoken after two heartbeats.
"""

from orchestrator_core.contracts.pool import PoolState
from orchestrator_core.scheduler.events import JobRestored
from orchestrator_core.scheduler.records import Service
from orchestrator_core.scheduler.state import MachineState

__all__ = ["await_pools"]


def await_pools(state: MachineState, service: Service, event: JobRestored) -> None:
    """Order nothing for this service before the pool of a restored attempt could register."""
    pool = None if event.pool_id is None else state.pools.get(event.pool_id)
    if pool is not None and pool.status is not PoolState.LOST:
        return
    limits = state.limits
    began_at = event.at if state.began_at is None else state.began_at
    until = began_at + (limits.settle_s if event.pool_id is None else limits.recovery_s)
    if until <= event.at or service.workers:
        return
    service.awaited.add(event.pool_id)
    service.retry_at = max(until, service.retry_at or until)
    state.alarms.retries.set(service.key, service.retry_at)
