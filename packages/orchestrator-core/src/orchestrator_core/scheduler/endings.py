"""Ends jobs and frees what they held; a finished job is forgotten, so it can end only once.

What an ending frees is returned, not given away: the caller passes it to scheduler.matching.
"""

from orchestrator_core.catalog.external import is_external
from orchestrator_core.cluster.workers import ALIVE
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import WorkerId
from orchestrator_core.jobs import states
from orchestrator_core.scheduler.commands import CancelAttempt, Finish
from orchestrator_core.scheduler.events import AttemptEnded
from orchestrator_core.scheduler.records import JobRecord
from orchestrator_core.scheduler.state import Commands, MachineState
from orchestrator_core.units import format_duration

__all__ = ["close_attempt", "complete", "detach", "end_early", "expire", "is_due", "switch"]


def switch(job: JobRecord, to: JobStatus) -> None:
    """Move a job by the table; a move it does not know carries the job's story."""
    job.status = states.move(job.status, to, subject=job.facts.id, story=job.notes)


def detach(state: MachineState, job: JobRecord, *, computing: bool = False) -> WorkerId | None:
    """Part a job from its worker; returns the worker if its slots are free at once.

    While the worker may still compute the attempt its slots stay taken, until somebody sees that
    it has let go. An engine that somebody else runs tells nothing about its slots.
    """
    worker_id = job.worker_id
    if worker_id is None:
        return None
    job.worker_id = job.pool_id = None
    state.alarms.attempts.discard(job.facts.id)
    if computing and _may_compute(state, worker_id, job.incarnation):
        state.slots.of(worker_id).linger(job.facts.id, job.attempt)
        return None
    state.slots.of(worker_id).release(job.facts.id, job.attempt)
    if worker_id not in state.workers:
        state.slots.forget_idle(worker_id)
    return worker_id


def close_attempt(job: JobRecord, out: Commands) -> bool:
    """Have the socket of the current attempt closed; False if there is none."""
    if job.worker_id is None or job.pool_id is None:
        return False
    out.append(
        CancelAttempt(
            job_id=job.facts.id,
            attempt=job.attempt,
            pool_id=job.pool_id,
            worker_id=job.worker_id,
        )
    )
    return True


def is_due(job: JobRecord, at: float) -> bool:
    """True when the job's last moment has come."""
    return job.due_at <= at


def complete(
    state: MachineState, job: JobRecord, event: AttemptEnded, out: Commands
) -> WorkerId | None:
    """End a job with its answer; returns the worker that got free."""
    switch(job, JobStatus.COMPLETED)
    job.service.run_s.add(event.at - job.dispatched_at)
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
    return _forget(state, job, computing=False)


def end_early(
    state: MachineState,
    job: JobRecord,
    status: JobStatus,
    code: Code,
    message: str,
    out: Commands,
    *,
    close: bool = True,
    computing: bool = False,
) -> WorkerId | None:
    """End a job without its answer; close: its attempt, if any, still has an open socket."""
    if job.status is JobStatus.QUEUED:
        state.unqueue(job)
    switch(job, status)
    if close and close_attempt(job, out):
        computing = True
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
    return _forget(state, job, computing=computing)


def expire(state: MachineState, job: JobRecord, out: Commands) -> WorkerId | None:
    """End a job whose last moment came; returns the worker that got free."""
    did = "waited" if job.status is JobStatus.QUEUED else "ran"
    if job.due_at == job.facts.deadline_at:
        line = f"the deadline passed while the job {did}"
    else:
        total = format_duration(state.limits.total_timeout_s)
        line = f"the job had not ended after {total}; it still {did}"
    return end_early(state, job, JobStatus.EXPIRED, Code.EXPIRED, line, out)


def _may_compute(state: MachineState, worker_id: WorkerId, incarnation: int) -> bool:
    worker = state.workers.get(worker_id)
    return (
        worker is not None
        and worker.incarnation == incarnation
        and worker.status in ALIVE
        and not is_external(worker.spec)
    )


def _forget(state: MachineState, job: JobRecord, *, computing: bool) -> WorkerId | None:
    worker_id = detach(state, job, computing=computing)
    state.endings.note(state.now)
    state.alarms.deadlines.discard(job.facts.id)
    if job.attempt == 0:
        state.alarms.queues.discard(job.facts.id)
    del state.jobs[job.facts.id]
    return worker_id
