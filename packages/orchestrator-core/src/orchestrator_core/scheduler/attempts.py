"""Facts of the pumps about attempts; a fact about an attempt that is over is counted, not used."""

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.jobs.retry import counts_as_failure, decide_retry
from orchestrator_core.scheduler.commands import PersistRequeued, PersistRunning
from orchestrator_core.scheduler.endings import complete, end_early, release, switch
from orchestrator_core.scheduler.events import (
    AttemptAccepted,
    AttemptBroken,
    AttemptEnded,
    AttemptProgress,
    FirstToken,
)
from orchestrator_core.scheduler.matching import serve_freed, serve_service
from orchestrator_core.scheduler.orders import ensure_supply
from orchestrator_core.scheduler.state import Commands, JobRecord, MachineState

__all__ = ["on_accepted", "on_broken", "on_ended", "on_first_token", "on_progress"]

# Nobody listens there, or not yet: a retry at once would burn all attempts on that port.
_GONE = frozenset({Code.WORKER_LOST, Code.UNREACHABLE, Code.LOADING})

_AttemptFact = AttemptAccepted | FirstToken | AttemptProgress | AttemptEnded | AttemptBroken


def on_accepted(state: MachineState, event: AttemptAccepted, out: Commands) -> None:
    """The worker took the attempt."""
    job = _current(state, event)
    if job is None:
        return
    if job.status is JobStatus.DISPATCHED:
        _run(job, out)
    else:
        state.late_facts += 1


def on_first_token(state: MachineState, event: FirstToken, _out: Commands) -> None:
    """The answer began."""
    job = _current(state, event)
    if job is not None and job.first_token_at is None:
        job.first_token_at = event.at


def on_progress(state: MachineState, event: AttemptProgress, _out: Commands) -> None:
    """The answer grew."""
    job = _current(state, event)
    if job is not None:
        job.tokens = max(job.tokens, event.tokens)


def on_ended(state: MachineState, event: AttemptEnded, out: Commands) -> None:
    """The answer is complete; the freed slots serve the queue."""
    job = _current(state, event)
    if job is None:
        return
    if job.status is JobStatus.DISPATCHED:
        # A short answer may be over before its head was reported.
        _run(job, out)
    serve_freed(state, complete(state, job, event, out), event.at, out)


def on_broken(state: MachineState, event: AttemptBroken, out: Commands) -> None:
    """The attempt came to nothing: back to the old place in the queue, or the end."""
    job = _current(state, event)
    if job is None:
        return
    _hold_against(state, job, event)
    decision = decide_retry(
        reason=event.reason,
        message=event.message,
        retriable=event.retriable,
        failures=job.failures,
        lost_on=job.lost_on or (),
        max_attempts=state.limits.max_attempts,
    )
    if decision.retry:
        _requeue(state, job, event, out)
    else:
        # The pump has closed its socket itself.
        job.tokens = event.tokens_kept
        failed, code = JobStatus.FAILED, decision.code
        freed = end_early(state, job, failed, code, decision.message, out, close=False)
        serve_freed(state, freed, event.at, out)
    serve_service(state, job.service, event.at, out)
    ensure_supply(state, job.service, event.at, out)


def _current(state: MachineState, event: _AttemptFact) -> JobRecord | None:
    job = state.jobs.get(event.job_id)
    if job is None or job.attempt != event.attempt or job.worker_id is None:
        state.late_facts += 1
        return None
    return job


def _run(job: JobRecord, out: Commands) -> None:
    pool_id, worker_id = job.pool_id, job.worker_id
    if pool_id is None or worker_id is None:
        raise LookupError(f"{job.facts.id} runs on no worker")
    switch(job, JobStatus.RUNNING)
    out.append(
        PersistRunning(
            job_id=job.facts.id, attempt=job.attempt, pool_id=pool_id, worker_id=worker_id
        )
    )


def _hold_against(state: MachineState, job: JobRecord, event: AttemptBroken) -> None:
    state.note(job, event.at, "attempt {} ended: {}: {}", job.attempt, event.reason, event.message)
    if counts_as_failure(event.reason):
        job.failures += 1
    if job.worker_id is None or event.reason not in _GONE:
        return
    if event.reason is Code.WORKER_LOST:
        job.lost_on = (job.lost_on or set()) | {(job.worker_id, job.incarnation)}
    worker = state.workers.get(job.worker_id)
    if worker is not None and worker.incarnation == job.incarnation:
        worker.blocked_at = event.at
        state.index(worker)


def _requeue(state: MachineState, job: JobRecord, event: AttemptBroken, out: Commands) -> None:
    freed = release(state, job)
    switch(job, JobStatus.QUEUED)
    out.append(
        PersistRequeued(
            job_id=job.facts.id,
            attempt=job.attempt,
            reason=event.reason,
            message=event.message,
            tokens=event.tokens_kept,
            keep_tokens=0,
        )
    )
    job.tokens, job.first_token_at = 0, None
    state.enqueue(job)
    worker = None if freed is None else state.workers.get(freed)
    if worker is not None:
        state.rank(job.service, worker)
