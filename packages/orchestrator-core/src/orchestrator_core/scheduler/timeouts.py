"""The timeouts of jobs: one that no worker takes, an attempt that runs too long, the last moment.

How long a worker may take to come is scheduler.loads' matter.
"""

from orchestrator_core.cluster.workers import COMING
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.scheduler.endings import close_attempt, end_early, expire
from orchestrator_core.scheduler.events import AttemptBroken
from orchestrator_core.scheduler.matching import serve_freed
from orchestrator_core.scheduler.orders import choose_home_for
from orchestrator_core.scheduler.records import JobRecord
from orchestrator_core.scheduler.retries import settle_broken
from orchestrator_core.scheduler.state import Commands, MachineState
from orchestrator_core.units import format_duration

__all__ = ["break_long_attempt", "expire_due", "expire_unserved", "watch"]


def watch(state: MachineState, job: JobRecord) -> None:
    """Arm what limits a job from its first moment on."""
    job_id, alarms = job.facts.id, state.alarms
    alarms.deadlines.set(job_id, job.due_at)
    if job.attempt == 0:
        alarms.queues.set(job_id, job.facts.queued_at + state.limits.queue_timeout_s)


def expire_due(state: MachineState, job: JobRecord, at: float, out: Commands) -> None:
    """End a job whose last moment has come and pass on what it held."""
    serve_freed(state, expire(state, job, out), at, out)


def expire_unserved(state: MachineState, job: JobRecord, at: float, out: Commands) -> None:
    """End a job that no worker has taken for too long, with what it waited for."""
    waited = format_duration(state.limits.queue_timeout_s)
    line = f"no worker took the job within {waited}: {_want(state, job, at)}"
    end_early(state, job, JobStatus.EXPIRED, Code.EXPIRED, line, out)


def break_long_attempt(state: MachineState, job: JobRecord, at: float, out: Commands) -> None:
    """Cut an attempt short that runs too long; another worker may do better.

    A call whose client has seen text cannot start over: it ends.
    """
    limit = format_duration(state.limits.attempt_timeout_s)
    close_attempt(job, out)
    broken = AttemptBroken(
        at=at,
        job_id=job.facts.id,
        attempt=job.attempt,
        reason=Code.TIMEOUT,
        message=f"the attempt was broken off after {limit}",
        retriable=job.facts.durable or job.first_token_at is None,
        tokens_kept=job.tokens,
        computing=True,
    )
    settle_broken(state, job, broken, out)


def _want(state: MachineState, job: JobRecord, at: float) -> str:
    service, facts = job.service, job.facts
    if service.has_supply(facts.pin_pool):
        if len(service.open) == 0 and any(it.status in COMING for it in service.workers.values()):
            return f"a worker of {facts.model} is still on its way"
        return f"the workers of {facts.model} were busy all the time"
    if service.last_failure is not None:
        return service.last_failure.message
    home = choose_home_for(state, job, at)
    if home.chosen is not None:
        return f"a worker of {facts.model} could not be started yet"
    return home.reasons[0]
