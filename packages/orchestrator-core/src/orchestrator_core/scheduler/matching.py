"""Brings waiting jobs and free slots together: late binding, oldest job first.

A worker only ever takes the oldest job that may run on its pool. When that job needs more slots
than are free, the worker waits with it, so that wide jobs are never starved by narrow ones.
"""

from orchestrator_core.cluster.workers import WorkerRecord
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.placement.choose import choose_worker
from orchestrator_core.placement.filters import WorkNeed
from orchestrator_core.scheduler.commands import Dispatch, PersistDispatched
from orchestrator_core.scheduler.endings import end_early, is_due, switch
from orchestrator_core.scheduler.state import Commands, JobRecord, MachineState, Service

__all__ = ["expire", "next_for", "serve_freed", "serve_service", "serve_worker"]


def next_for(state: MachineState, service: Service, pool_id: PoolId) -> JobRecord | None:
    """The oldest waiting job that may run on this pool."""
    lanes = service.lanes
    pin = None if len(lanes) == 1 else service.oldest_lane((None, pool_id))
    job_id = lanes[pin].peek()
    return None if job_id is None else state.jobs[job_id]


def serve_freed(state: MachineState, worker_id: WorkerId | None, at: float, out: Commands) -> None:
    """Give freed slots to the queue, if their worker is still known."""
    worker = None if worker_id is None else state.workers.get(worker_id)
    if worker is not None:
        serve_worker(state, worker, at, out)
        # A wide job that leaves the head may have held others back from other workers.
        serve_service(state, state.service(worker.key), at, out)


def serve_worker(state: MachineState, worker: WorkerRecord, at: float, out: Commands) -> None:
    """Give a worker the oldest jobs that may run on it while they fit."""
    service = state.service(worker.key)
    if worker.open:
        while (free := worker.free) > 0:
            job = next_for(state, service, worker.pool_id)
            if job is None:
                break
            if is_due(job, at):
                expire(state, job, out)
                continue
            if min(job.facts.slots, worker.slots_total) > free:
                break
            _dispatch(state, job, worker, at, out)
    state.rank(service, worker)


def serve_service(state: MachineState, service: Service, at: float, out: Commands) -> None:
    """Place the waiting jobs of a service, oldest first, while open workers take them."""
    stuck: set[PoolId | None] = set()
    while len(service.open) > 0:
        pin = service.oldest_lane(pin for pin in service.lanes if pin not in stuck)
        lane = None if pin in stuck else service.lanes.get(pin)
        job_id = None if lane is None else lane.peek()
        if job_id is None:
            return
        job = state.jobs[job_id]
        if is_due(job, at):
            expire(state, job, out)
            continue
        need = WorkNeed(job.facts.slots, pin)
        choice = choose_worker(_candidates(state, service, job), need)
        if choice.chosen is None:
            stuck.add(pin)
            continue
        _dispatch(state, job, choice.chosen, at, out)
        state.rank(service, choice.chosen)


def expire(state: MachineState, job: JobRecord, out: Commands) -> WorkerId | None:
    """End a job whose deadline came; returns the worker that got free."""
    waiting = job.status is JobStatus.QUEUED
    line = f"the deadline passed while the job {'waited' if waiting else 'ran'}"
    return end_early(state, job, JobStatus.EXPIRED, Code.EXPIRED, line, out)


def _candidates(state: MachineState, service: Service, job: JobRecord) -> list[WorkerRecord]:
    pin = job.facts.pin_pool
    if pin is not None:
        # A pin names one pool, and a pool has few workers.
        pool = state.pools.get(pin)
        names = [] if pool is None else [w for w in pool.worker_ids if w in service.open]
    elif len(service.lanes) == 1 and job.facts.slots == 1:
        # Every open worker fits, so the least busy few are all that a choice needs to see.
        names = service.open.smallest(state.limits.shortlist)
        return [service.workers[name] for name in names]
    else:
        names = service.open.smallest(len(service.open))
    workers = [service.workers[name] for name in names]
    return [worker for worker in workers if next_for(state, service, worker.pool_id) is job]


def _dispatch(
    state: MachineState, job: JobRecord, worker: WorkerRecord, at: float, out: Commands
) -> None:
    facts = job.facts
    state.dequeue(job.service, facts.pin_pool)
    switch(job, JobStatus.DISPATCHED)
    job.attempt += 1
    job.worker_id, job.pool_id = worker.worker_id, worker.pool_id
    job.incarnation = worker.incarnation
    job.tokens, job.first_token_at = 0, None
    total, used = worker.slots_total, worker.slots.used
    worker.slots.take(facts.id, job.attempt, min(facts.slots, total))
    state.note(
        job,
        at,
        "attempt {} goes to worker {} on pool {}: {} of {} slots were in use",
        job.attempt,
        worker.worker_id,
        worker.pool_id,
        used,
        total,
    )
    out.append(
        PersistDispatched(
            job_id=facts.id,
            attempt=job.attempt,
            pool_id=worker.pool_id,
            worker_id=worker.worker_id,
        )
    )
    out.append(
        Dispatch(
            job_id=facts.id,
            attempt=job.attempt,
            pool_id=worker.pool_id,
            worker_id=worker.worker_id,
            incarnation=worker.incarnation,
        )
    )
