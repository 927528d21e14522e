"""Brings waiting jobs and free slots together: late binding, in the order of the queue.

A worker only ever takes the next job that may run on its pool. When that job needs more slots
than are free, the worker waits with it, so that wide jobs are never starved by narrow ones.
"""

from orchestrator_core.cluster.workers import WorkerRecord
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.placement.choose import choose_worker
from orchestrator_core.placement.filters import WorkNeed
from orchestrator_core.scheduler.commands import Dispatch, PersistDispatched
from orchestrator_core.scheduler.endings import expire, is_due, switch
from orchestrator_core.scheduler.records import JobRecord, Service
from orchestrator_core.scheduler.state import Commands, MachineState

__all__ = ["next_for", "serve_freed", "serve_service", "serve_worker"]


def next_for(state: MachineState, service: Service, pool_id: PoolId) -> JobRecord | None:
    """The waiting job that is next on this pool."""
    lanes = service.lanes
    ticket = lanes[None].head() if len(lanes) == 1 else service.next_head((None, pool_id))
    return None if ticket is None else state.jobs[ticket.job_id]


def serve_freed(state: MachineState, worker_id: WorkerId | None, at: float, out: Commands) -> None:
    """Give freed slots to the queue, if their worker is still known."""
    worker = None if worker_id is None else state.workers.get(worker_id)
    if worker is not None:
        serve_worker(state, worker, at, out)
        # A wide job that leaves the head may have held others back from other workers.
        serve_service(state, state.service(worker.key), at, out)


def serve_worker(state: MachineState, worker: WorkerRecord, at: float, out: Commands) -> None:
    """Give a worker the next jobs that may run on it while they fit."""
    service = state.service(worker.key)
    if worker.open:
        while (free := worker.free) > 0:
            job = next_for(state, service, worker.pool_id)
            if job is None:
                break
            if is_due(job, at):
                if _is_full(state, out):
                    break
                expire(state, job, out)
                continue
            if min(job.facts.slots, worker.slots_total) > free:
                break
            _dispatch(state, job, worker, at, out)
    state.rank(service, worker)


def serve_service(state: MachineState, service: Service, at: float, out: Commands) -> None:
    """Place the waiting jobs of a service in their order while open workers take them."""
    if not service.waiting or not service.open:
        return
    stuck: set[tuple[PoolId | None, bool]] = set()
    pins = _open_pins(state, service)
    while len(service.open) > 0:
        ticket = service.next_head(pins, stuck)
        if ticket is None:
            return
        job = state.jobs[ticket.job_id]
        if is_due(job, at):
            if _is_full(state, out):
                return
            expire(state, job, out)
            continue
        need = WorkNeed(job.facts.slots, job.facts.pin_pool)
        choice = choose_worker(_candidates(state, service, job, pins), need)
        if choice.chosen is None:
            if len(pins) == 1:
                # Every worker waits with this one.
                return
            stuck.add((job.facts.pin_pool, ticket.is_batch))
            continue
        _dispatch(state, job, choice.chosen, at, out)
        state.rank(service, choice.chosen)
        # The next turn may be that of one which had to wait for this one.
        stuck.clear()


def _is_full(state: MachineState, out: Commands) -> bool:
    """True when this event has brought so much that the deadlines' own alarm has to go on."""
    return len(out) >= state.limits.settle_batch


def _open_pins(state: MachineState, service: Service) -> tuple[PoolId | None, ...]:
    """The lanes that some open worker may serve; of lanes and workers the fewer are looked at."""
    lanes, workers = service.lanes, service.open
    if len(lanes) == 1:
        return (None,)
    if len(workers) < len(lanes):
        pools = {service.workers[name].pool_id for name in workers}
        return (None, *sorted(pool_id for pool_id in pools if pool_id in lanes))
    return (None, *(pin for pin in lanes if pin is not None and _has_open(state, service, pin)))


def _has_open(state: MachineState, service: Service, pin: PoolId) -> bool:
    pool = state.pools.get(pin)
    return pool is not None and any(name in service.open for name in pool.worker_ids)


def _candidates(
    state: MachineState, service: Service, job: JobRecord, pins: tuple[PoolId | None, ...]
) -> list[WorkerRecord]:
    pin = job.facts.pin_pool
    if pin is not None:
        # A pin names one pool, and a pool has few workers.
        pool = state.pools.get(pin)
        names = [] if pool is None else [w for w in pool.worker_ids if w in service.open]
    elif len(pins) == 1 and job.facts.slots == 1:
        # Every open worker fits, so the least busy few are all that a choice needs to see.
        names = service.open.smallest(state.limits.shortlist)
        return [service.workers[name] for name in names]
    else:
        names = list(service.open)
    # Where nobody is pinned to the pool it is the turn of whoever is first in the common lane.
    is_first = service.lanes[None].head() is job.ticket
    return [
        worker
        for worker in (service.workers[name] for name in names)
        if (
            next_for(state, service, worker.pool_id) is job
            if worker.pool_id in service.lanes
            else is_first
        )
    ]


def _dispatch(
    state: MachineState, job: JobRecord, worker: WorkerRecord, at: float, out: Commands
) -> None:
    facts = job.facts
    state.dequeue(job)
    switch(job, JobStatus.DISPATCHED)
    job.attempt += 1
    job.worker_id, job.pool_id = worker.worker_id, worker.pool_id
    job.incarnation, job.dispatched_at = worker.incarnation, at
    job.tokens, job.first_token_at = job.kept_tokens, None
    if job.attempt == 1:
        state.alarms.queues.discard(facts.id)
    state.alarms.attempts.set(facts.id, at + state.limits.attempt_timeout_s)
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
            kept_tokens=job.kept_tokens,
        )
    )
    out.append(
        Dispatch(
            job_id=facts.id,
            attempt=job.attempt,
            pool_id=worker.pool_id,
            worker_id=worker.worker_id,
            incarnation=worker.incarnation,
            keep_tokens=job.kept_tokens,
        )
    )
