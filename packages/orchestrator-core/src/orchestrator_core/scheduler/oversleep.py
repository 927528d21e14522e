"""Forgives what nobody could hear: the orchestrator slept, or was held up, past its own alarm.

Silence, starts, loads and attempts are timed by what is heard of them, so such a time does not
count for them. Deadlines and pauses are promises about the clock, and stand.
"""

from orchestrator_core.cluster.workers import COMING
from orchestrator_core.contracts.pool import PoolState
from orchestrator_core.scheduler.state import MachineState

__all__ = ["forgive_sleep"]


def forgive_sleep(state: MachineState, at: float) -> None:
    """Take the time by which the earliest alarm was missed out of all that waits for a word."""
    due = state.alarms.next_at()
    if due is None or state.began_at is None:
        return
    slept_s = at - max(due, state.now)
    if slept_s <= state.limits.deaf_s:
        return
    alarms = state.alarms
    for heap in (alarms.liveness, alarms.starts, alarms.loads, alarms.attempts):
        heap.shift(slept_s)
    _shift_records(state, slept_s)


def _shift_records(state: MachineState, slept_s: float) -> None:
    for pool in state.pools.values():
        if pool.status is not PoolState.LOST:
            pool.last_seen_at += slept_s
    if state.brake_since is not None:
        state.brake_since += slept_s
    coming = (worker for worker in state.workers.values() if worker.status in COMING)
    for worker in coming:
        worker.came_at += slept_s
    running = (job for job in state.jobs.values() if job.worker_id is not None)
    for job in running:
        job.dispatched_at += slept_s
