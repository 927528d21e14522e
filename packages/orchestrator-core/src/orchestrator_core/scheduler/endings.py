"""Ends jobs and frees what they held; a finished job is forgotten, so it can end only once.

What an ending frees is returned, not given away: the caller passes it to scheduler.matching.
"""

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import WorkerId
from orchestrator_core.jobs import states
from orchestrator_core.scheduler.commands import CancelAttempt, Finish
from orchestrator_core.scheduler.events import AttemptEnded
from orchestrator_core.scheduler.state import Commands, JobRecord, MachineState

__all__ = ["complete", "end_early", "is_due", "release", "switch"]


def switch(job: JobRecord, to: JobStatus) -> None:
    """Move a job by the table; a move it does not know carries the job's story."""
    job.status = states.move(job.status, to, subject=job.facts.id, story=job.notes)


def release(state: MachineState, job: JobRecord) -> WorkerId | None:
    """Free the slots of the current attempt; the caller serves the worker that has them back."""
    worker_id = job.worker_id
    if worker_id is None:
        return None
    state.slots.of(worker_id).release(job.facts.id, job.attempt)
    if worker_id not in state.workers:
        state.slots.forget_idle(worker_id)
    job.worker_id = job.pool_id = None
    return worker_id


def is_due(job: JobRecord, at: float) -> bool:
    """True when the job's deadline has come."""
    deadline_at = job.facts.deadline_at
    return deadline_at is not None and deadline_at <= at


def complete(
    state: MachineState, job: JobRecord, event: AttemptEnded, out: Commands
) -> WorkerId | None:
    """End a job with its answer; returns the worker that got free."""
    switch(job, JobStatus.COMPLETED)
    out.append(
        Finish(
            job_id=job.facts.id,
            attempt=job.attempt,
            status=JobStatus.COMPLETED,
            stop_reason=event.stop_reason,
            tokens_out=event.tokens_out,
            usage=event.usage,
            timings=event.timings,
        )
    )
    return _forget(state, job)


def end_early(
    state: MachineState,
    job: JobRecord,
    status: JobStatus,
    code: Code,
    message: str,
    out: Commands,
    *,
    close: bool = True,
) -> WorkerId | None:
    """End a job without its answer; close: its attempt, if any, still has an open socket."""
    if job.status is JobStatus.QUEUED:
        state.unqueue(job)
    switch(job, status)
    if close and job.worker_id is not None:
        out.append(CancelAttempt(job_id=job.facts.id, attempt=job.attempt))
    out.append(
        Finish(
            job_id=job.facts.id,
            attempt=job.attempt,
            status=status,
            code=code,
            message=message,
            tokens_out=job.tokens,
        )
    )
    return _forget(state, job)


def _forget(state: MachineState, job: JobRecord) -> WorkerId | None:
    worker_id = release(state, job)
    if job.facts.deadline_at is not None:
        state.alarms.deadlines.discard(job.facts.id)
    del state.jobs[job.facts.id]
    return worker_id
