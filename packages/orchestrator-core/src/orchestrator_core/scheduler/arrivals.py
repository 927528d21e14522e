"""Jobs that come, come back after a restart, or are no longer wanted."""

from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.scheduler.commands import PersistRequeued
from orchestrator_core.scheduler.endings import end_early, expire, is_due
from orchestrator_core.scheduler.events import (
    CancelRequested,
    JobArrived,
    JobFacts,
    JobRestored,
)
from orchestrator_core.scheduler.matching import serve_freed, serve_service
from orchestrator_core.scheduler.orders import ensure_lane
from orchestrator_core.scheduler.records import JobRecord
from orchestrator_core.scheduler.recovery import await_pools
from orchestrator_core.scheduler.state import Commands, MachineState
from orchestrator_core.scheduler.timeouts import watch

__all__ = ["on_arrived", "on_cancel_requested", "on_restored"]


def on_arrived(state: MachineState, event: JobArrived, out: Commands) -> None:
    """Queue a new job and place it at once where a slot is free."""
    if event.job.id in state.jobs:
        state.late_facts += 1
        return
    _place(state, _enter(state, event.job), event.at, out)


def on_restored(state: MachineState, event: JobRestored, out: Commands) -> None:
    """Take a job back after a restart, at its old place; an attempt that lived is over."""
    if event.job.id in state.jobs:
        state.late_facts += 1
        return
    job = _enter(state, event.job)
    job.attempt, job.tokens = event.attempt, event.tokens_kept
    if event.cancel_requested:
        line = "the job was cancelled before the orchestrator restarted"
        end_early(state, job, JobStatus.CANCELLED, Code.CANCELLED, line, out)
        return
    if is_due(job, event.at):
        expire(state, job, out)
        return
    job.kept_tokens = job.tokens = event.tokens_kept if event.resumable else 0
    if event.was_alive:
        _end_old_attempt(state, job, event, out)
        await_pools(state, job.service, event)
    _place(state, job, event.at, out)


def on_cancel_requested(state: MachineState, event: CancelRequested, out: Commands) -> None:
    """End a job at its client's word; one that has ended or never was needs nothing."""
    job = state.jobs.get(event.job_id)
    if job is None:
        return
    line = "the job was cancelled"
    freed = end_early(state, job, JobStatus.CANCELLED, Code.CANCELLED, line, out)
    serve_freed(state, freed, event.at, out)
    # A wide job at the head may have held back others that fit.
    serve_service(state, job.service, event.at, out)
    ensure_lane(state, job, event.at, out)


def _enter(state: MachineState, facts: JobFacts) -> JobRecord:
    due_at = facts.queued_at + state.limits.total_timeout_s
    if facts.deadline_at is not None:
        due_at = min(due_at, facts.deadline_at)
    job = JobRecord(facts, state.service(ServiceKey(facts.model, facts.task)), due_at)
    state.jobs[facts.id] = job
    return job


def _end_old_attempt(
    state: MachineState, job: JobRecord, event: JobRestored, out: Commands
) -> None:
    line = "the orchestrator restarted while the attempt ran"
    state.note(job, event.at, "attempt {} ended: {}", event.attempt, line)
    out.append(
        PersistRequeued(
            job_id=job.facts.id,
            attempt=event.attempt,
            reason=Code.ORCHESTRATOR_RESTART,
            message=line,
            tokens=event.tokens_kept,
            keep_tokens=job.kept_tokens,
        )
    )


def _place(state: MachineState, job: JobRecord, at: float, out: Commands) -> None:
    if is_due(job, at):
        expire(state, job, out)
        return
    failure = job.service.given_up
    if failure is not None and not job.service.has_supply(job.facts.pin_pool):
        end_early(state, job, JobStatus.FAILED, failure.code, failure.message, out)
        return
    watch(state, job)
    state.enqueue(job)
    serve_service(state, job.service, at, out)
    if (
        job.status is JobStatus.QUEUED
        and job.service.lanes[job.facts.pin_pool].peek() == job.facts.id
    ):
        # Behind others it needs nothing that these do not lack already.
        ensure_lane(state, job, at, out)
