"""Facts of the pumps about attempts; a fact about an attempt that is over is counted, not used."""

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.scheduler.commands import PersistRunning
from orchestrator_core.scheduler.endings import complete, switch
from orchestrator_core.scheduler.events import (
    AttemptAccepted,
    AttemptBroken,
    AttemptEnded,
    AttemptProgress,
    FirstToken,
    SlotsSeenIdle,
)
from orchestrator_core.scheduler.matching import serve_freed
from orchestrator_core.scheduler.records import JobRecord
from orchestrator_core.scheduler.retries import settle_broken
from orchestrator_core.scheduler.state import Commands, MachineState

__all__ = [
    "on_accepted",
    "on_broken",
    "on_ended",
    "on_first_token",
    "on_progress",
    "on_seen_idle",
]

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
    if job is not None:
        settle_broken(state, job, event, out)


def on_seen_idle(state: MachineState, event: SlotsSeenIdle, out: Commands) -> None:
    """The worker has let go of an attempt that was cut short: its slots serve the queue again."""
    slots = state.slots.find(event.worker_id)
    if slots is None or not slots.let_go(event.job_id, event.attempt):
        # A new process or a pool that was lost has freed them already.
        state.late_facts += 1
        return
    if event.worker_id not in state.workers:
        state.slots.forget_idle(event.worker_id)
    serve_freed(state, event.worker_id, event.at, out)


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
