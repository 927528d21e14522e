"""Jobs that come, come back after a restart, or are no longer wanted."""

from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.scheduler.commands import PersistRequeued
from orchestrator_core.scheduler.endings import end_early, is_due
from orchestrator_core.scheduler.events import (
    CancelRequested,
    JobArrived,
    JobFacts,
    JobRestored,
)
from orchestrator_core.scheduler.matching import expire, serve_freed, serve_service
from orchestrator_core.scheduler.orders import ensure_supply
from orchestrator_core.scheduler.state import Commands, JobRecord, MachineState

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
    if event.was_alive:
        line = "the orchestrator restarted while the attempt ran"
        state.note(job, event.at, "attempt {} ended: {}", event.attempt, line)
        out.append(
            PersistRequeued(
                job_id=job.facts.id,
                attempt=event.attempt,
                reason=Code.ORCHESTRATOR_RESTART,
                message=line,
                tokens=event.tokens_kept,
                keep_tokens=0,
            )
        )
        job.tokens = 0
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
    ensure_supply(state, job.service, event.at, out)


def _enter(state: MachineState, facts: JobFacts) -> JobRecord:
    job = JobRecord(facts, state.service(ServiceKey(facts.model, facts.task)))
    state.jobs[facts.id] = job
    return job


def _place(state: MachineState, job: JobRecord, at: float, out: Commands) -> None:
    if is_due(job, at):
        expire(state, job, out)
        return
    if job.facts.deadline_at is not None:
        state.alarms.deadlines.set(job.facts.id, job.facts.deadline_at)
    state.enqueue(job)
    serve_service(state, job.service, at, out)
    if job.status is JobStatus.QUEUED:
        ensure_supply(state, job.service, at, out)
