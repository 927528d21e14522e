"""Answers "why is my job waiting?" from the state as it is now, then tells the job's story."""

from collections.abc import Iterator

from orchestrator_core.cluster.workers import COMING, WorkerRecord
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.ids import JobId
from orchestrator_core.jobs.notes import tell
from orchestrator_core.placement.filters import WorkNeed, worker_refusal
from orchestrator_core.scheduler.brake import brake_line
from orchestrator_core.scheduler.orders import choose_home_for, quarantine
from orchestrator_core.scheduler.places import place_of
from orchestrator_core.scheduler.records import JobRecord, Service
from orchestrator_core.scheduler.state import MachineState
from orchestrator_core.units import format_duration

__all__ = ["explain"]

# A service may have a thousand workers; a person reads a few lines.
_WORKERS_SHOWN = 5


def explain(state: MachineState, job_id: JobId) -> list[str]:
    """The reasons that hold for a live job, newest facts first; empty for one that has ended."""
    job = state.jobs.get(job_id)
    if job is None:
        return []
    now = _why_waiting(state, job) if job.status is JobStatus.QUEUED else _where(state, job)
    return [*now, *tell(job.notes)]


def _where(state: MachineState, job: JobRecord) -> list[str]:
    verb = "was sent to" if job.status is JobStatus.DISPATCHED else "runs on"
    line = f"attempt {job.attempt} {verb} worker {job.worker_id} on pool {job.pool_id}"
    if job.tokens:
        line += f", {job.tokens} tokens so far"
    if job.worker_id not in state.workers:
        line += "; the pool is silent, the answer's own connection is what counts"
    return [line]


def _why_waiting(state: MachineState, job: JobRecord) -> Iterator[str]:
    service, facts = job.service, job.facts
    if job.wake_at is not None:
        yield f"pauses for {_left(state, job.wake_at)} before the next attempt"
    else:
        place, waiting = place_of(job), service.waiting
        yield f"waits at place {place} of {waiting} for {facts.model} ({facts.task})"
    if facts.pin_pool is not None:
        yield f"is pinned to pool {facts.pin_pool}"
    braked = brake_line(state)
    if braked is not None:
        yield braked
    yield from _trouble(state, job)
    if service.has_supply(facts.pin_pool):
        # While it pauses no worker is what it waits for.
        yield from () if job.wake_at is not None else _why_not_on_workers(state, job)
    elif service.retry_at is None or facts.pin_pool not in (None, *state.pools):
        yield from _why_none_is_ordered(state, job)


def _trouble(state: MachineState, job: JobRecord) -> Iterator[str]:
    """What went wrong when a worker was to be started, and why none is ordered now."""
    service = job.service
    if service.last_failure is not None:
        failure, tries = service.last_failure, service.failures
        times = "once" if tries == 1 else f"{tries} times"
        retry = (
            "" if service.retry_at is None else f"; next try in {_left(state, service.retry_at)}"
        )
        yield f"starting a worker failed {times} ({failure.code}: {failure.message}){retry}"
    elif service.awaited and service.retry_at is not None:
        yield (
            "the orchestrator has just restarted: pools may still bring a worker of this model; "
            f"one is ordered in {_left(state, service.retry_at)}"
        )
    aside = quarantine(service, state.now)
    if aside:
        last_home = choose_home_for(state, job, state.now).chosen
        for pool_id, reason in aside.items():
            is_last = last_home is not None and last_home.pool_id == pool_id
            yield f"pool {pool_id} {reason}{'; it is tried again, no other can' if is_last else ''}"


def _why_none_is_ordered(state: MachineState, job: JobRecord) -> Iterator[str]:
    if any(worker.status in COMING for worker in job.service.workers.values()):
        yield "another worker of this model is on its way; one is started at a time"
        return
    yield from _fallen(state, job.service)
    yield from choose_home_for(state, job, state.now).reasons


def _left(state: MachineState, until: float) -> str:
    return format_duration(max(0.0, until - state.now))


def _fallen(state: MachineState, service: Service) -> Iterator[str]:
    """Workers that would serve if they had not failed, with what their pool says about it."""
    fallen = (worker for worker in state.workers.values() if worker.key == service.key)
    for worker in sorted(fallen, key=lambda worker: worker.worker_id)[:_WORKERS_SHOWN]:
        if worker.report is not None and worker.report.error_message:
            yield f"{worker.report.name} is {worker.status}: {worker.report.error_message}"


def _why_not_on_workers(state: MachineState, job: JobRecord) -> Iterator[str]:
    facts = job.facts
    workers = [
        worker
        for worker in job.service.workers.values()
        if facts.pin_pool in (None, worker.pool_id)
    ]
    workers.sort(key=lambda worker: worker.worker_id)
    for worker in workers[:_WORKERS_SHOWN]:
        yield f"worker {worker.worker_id} {_obstacle(state, job, worker)}"
    if len(workers) > _WORKERS_SHOWN:
        yield f"and {len(workers) - _WORKERS_SHOWN} more workers cannot take it either"


def _obstacle(state: MachineState, job: JobRecord, worker: WorkerRecord) -> str:
    since = format_duration(max(0.0, state.now - worker.status_since))
    if worker.report is None:
        return f"was ordered from pool {worker.pool_id} {since} ago"
    if worker.status in COMING:
        return f"has been {worker.status} on pool {worker.pool_id} for {since}"
    need = WorkNeed(job.facts.slots, job.facts.pin_pool)
    refusal = worker_refusal(worker, need) or "serves others first"
    lingering = worker.slots.lingering_slots
    if not lingering:
        return refusal
    slots = "1 slot of it is" if lingering == 1 else f"{lingering} slots of it are"
    return f"{refusal}; {slots} being let go"
