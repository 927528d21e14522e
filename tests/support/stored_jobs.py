"""Builds the rows and writes that tests of the store need, with every field filled in."""

from orchestrator_core.contracts.tasks import EventKind, JobStatus, Priority, TaskKind
from orchestrator_core.ids import JobId, KeyId, PoolId, WorkerId
from orchestratord.store.port import JobStore
from orchestratord.store.rows import EventRow, NewJob, UsageRow
from orchestratord.store.writes import (
    AdmitJob,
    AppendEvents,
    FinishJob,
    MarkDispatched,
    MarkRunning,
    Write,
)

__all__ = [
    "KEY",
    "OTHER_KEY",
    "admission",
    "apply",
    "dispatched",
    "event",
    "finish",
    "job_id",
    "new_job",
    "running",
    "token",
    "usage",
]

KEY = KeyId("key_00000000000000000000000001")
OTHER_KEY = KeyId("key_00000000000000000000000002")


def job_id(number: int) -> JobId:
    return JobId(f"job_{number:026d}")


def new_job(
    number: int,
    *,
    model: str = "tiny-chat",
    priority: Priority = Priority.INTERACTIVE,
    key_id: KeyId = KEY,
    prompt: str = "Hello",
    created_at_ms: int | None = None,
) -> NewJob:
    return NewJob(
        id=job_id(number),
        key_id=key_id,
        model=model,
        task=TaskKind.GENERATE,
        priority=priority,
        request_json=f'{{"prompt":"{prompt}"}}',
        request_hash="hash",
        seed=7,
        spec_json="{}",
        created_at_ms=1000 + number if created_at_ms is None else created_at_ms,
        session_id="session",
        metadata_json='{"a":"b"}',
        deadline_at_ms=9000,
        cancel_on_disconnect=True,
    )


def event(number: int, seq: int, kind: EventKind, data: str = "{}") -> EventRow:
    return EventRow(job_id(number), seq, kind, data)


def admission(job: NewJob | int) -> AdmitJob:
    job = new_job(job) if isinstance(job, int) else job
    return AdmitJob(job, EventRow(job.id, 1, EventKind.QUEUED, '{"queue_position": 1}'))


def dispatched(number: int, attempt: int = 1, worker: str = "wrk_a") -> MarkDispatched:
    return MarkDispatched(
        job_id=job_id(number),
        attempt=attempt,
        pool_id=PoolId("home"),
        worker_id=WorkerId(worker),
        worker_name="first",
        at_ms=2000 + attempt,
    )


def running(number: int, attempt: int = 1, seq: int = 2) -> MarkRunning:
    started = event(number, seq, EventKind.STARTED)
    return MarkRunning(
        job_id=job_id(number), attempt=attempt, at_ms=3000 + attempt, events=(started,)
    )


def token(number: int, seq: int, index: int = 0, count: int = 1) -> AppendEvents:
    data = f'{{"t": "x", "i": {index}, "n": {count}}}'
    return AppendEvents((event(number, seq, EventKind.TOKEN, data),))


def usage(number: int, status: JobStatus = JobStatus.COMPLETED) -> UsageRow:
    return UsageRow(
        job_id=job_id(number),
        key_id=KEY,
        model="tiny-chat",
        task=TaskKind.GENERATE,
        status=status,
        created_at_ms=1000,
        ended_at_ms=5000,
        prompt_tokens=3,
        completion_tokens=5,
        attempts=1,
        workers=("wrk_a",),
    )


def finish(
    number: int,
    *,
    attempt: int = 0,
    seq: int = 2,
    status: JobStatus = JobStatus.COMPLETED,
    at_ms: int = 5000,
    retain_request: bool = False,
) -> FinishJob:
    kind = EventKind.END if status is JobStatus.COMPLETED else EventKind.ERROR
    return FinishJob(
        job_id=job_id(number),
        attempt=attempt,
        status=status,
        at_ms=at_ms,
        final_events=(event(number, seq, kind, '{"tokens_out": 5}'),),
        usage=usage(number, status),
        stop_reason="stop",
        tokens_out=5,
        usage_json='{"prompt_tokens": 3}',
        timings_json="{}",
        output="Hello!",
        retain_request=retain_request,
    )


async def apply(store: JobStore, *writes: Write) -> list[int]:
    """Submit all before any is awaited, so that they may share a group."""
    return [await future for future in [store.submit(write) for write in writes]]
