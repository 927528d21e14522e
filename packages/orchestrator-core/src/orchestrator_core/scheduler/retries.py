"""Second chances: what becomes of a job whose attempt came to nothing, and of its place.

The first retry is immediate and every retry has the job's old place in the queue; from the second
counted failure on the job pauses first, and stands in no lane meanwhile.
"""

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.jobs.retry import counts_as_failure, decide_retry, retry_delay_s
from orchestrator_core.scheduler.commands import PersistRequeued
from orchestrator_core.scheduler.endings import detach, end_early, switch
from orchestrator_core.scheduler.events import AttemptBroken
from orchestrator_core.scheduler.matching import serve_freed, serve_service
from orchestrator_core.scheduler.orders import ensure_lane
from orchestrator_core.scheduler.records import JobRecord
from orchestrator_core.scheduler.state import Commands, MachineState
from orchestrator_core.units import format_duration

__all__ = ["settle_broken", "wake"]

# Nobody listens there, or not yet: a retry at once would burn all attempts on that port.
_GONE = frozenset({Code.WORKER_LOST, Code.UNREACHABLE, Code.LOADING})


def settle_broken(state: MachineState, job: JobRecord, event: AttemptBroken, out: Commands) -> None:
    """Judge a broken attempt; its socket is closed already."""
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
        job.tokens = max(event.tokens_kept, job.kept_tokens)
        failed, code, computing = JobStatus.FAILED, decision.code, event.computing
        freed = end_early(
            state, job, failed, code, decision.message, out, close=False, computing=computing
        )
        serve_freed(state, freed, event.at, out)
    serve_service(state, job.service, event.at, out)
    ensure_lane(state, job, event.at, out)


def wake(state: MachineState, job: JobRecord) -> None:
    """The pause is over: the job waits at its old place again; the caller serves its queue."""
    job.wake_at = None
    state.enqueue(job)


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
    freed = detach(state, job, computing=event.computing)
    switch(job, JobStatus.QUEUED)
    job.kept_tokens = _kept(job, event)
    out.append(
        PersistRequeued(
            job_id=job.facts.id,
            attempt=job.attempt,
            reason=event.reason,
            message=event.message,
            tokens=max(event.tokens_kept, job.kept_tokens),
            keep_tokens=job.kept_tokens,
        )
    )
    job.tokens, job.first_token_at = job.kept_tokens, None
    _line_up(state, job, event)
    worker = None if freed is None else state.workers.get(freed)
    if worker is None:
        return
    if worker.key == job.service.key:
        state.rank(job.service, worker)
    else:
        # Its id serves another model by now.
        serve_freed(state, freed, event.at, out)


def _kept(job: JobRecord, event: AttemptBroken) -> int:
    """How much of the answer the next attempt goes on behind."""
    if event.resumable:
        return max(event.tokens_kept, job.kept_tokens)
    # What an earlier attempt left stays good, whatever this one did behind it.
    return job.kept_tokens


def _line_up(state: MachineState, job: JobRecord, event: AttemptBroken) -> None:
    pause_s = 0.0
    if counts_as_failure(event.reason):
        pause_s = retry_delay_s(
            job.facts.id,
            job.attempt,
            failures=job.failures,
            backoff_s=state.limits.retry_backoff_s,
            backoff_max_s=state.limits.retry_backoff_max_s,
        )
    if pause_s <= 0:
        state.enqueue(job)
        return
    job.wake_at = event.at + pause_s
    state.alarms.wakeups.set(job.facts.id, job.wake_at)
    state.note(job, event.at, "the next attempt waits for {}", format_duration(pause_s))
