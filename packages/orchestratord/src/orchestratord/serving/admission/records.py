"""What the store and the machine are told of a job that comes in. Pure."""

import hashlib
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from orchestrator_core.contracts.tasks import (
    EventKind,
    JobStatus,
    Priority,
    TaskAccepted,
    TaskKind,
    TaskSubmit,
)
from orchestrator_core.ids import JobId
from orchestrator_core.scheduler.events import JobFacts
from orchestratord.runtime.jobs.durable_job import Identity
from orchestratord.serving.admission.desk import Wish
from orchestratord.store.rows import EventRow, JobRow, NewJob
from orchestratord.upstream.loose import Json

__all__ = [
    "Envelope", "Ticket", "accepted", "arrival_of", "identity_of", "queued_event", "row_of",
    "words_of",
]  # fmt: skip

_OUTSIDE: Final = {
    "model",
    "priority",
    "session_id",
    "deadline_ms",
    "metadata",
    "cancel_on_disconnect",
}


@dataclass(frozen=True, slots=True)
class Ticket:
    """An idempotency key and the hash of the body that came with it."""

    key: str
    digest: str


class Envelope(NamedTuple):
    """What came around the words of a request: how large it was, and what its head asks for."""

    size_bytes: int
    asked: Priority | None = None
    ticket: Ticket | None = None


def words_of(task: TaskSubmit, seed: int) -> Json:
    """The part of a submission that is put to an engine, with the seed that it will have."""
    words: dict[str, object] = task.model_dump(exclude_none=True, exclude=_OUTSIDE)
    words["seed"] = seed
    return words


def row_of(
    wish: Wish, task: TaskSubmit, *, seed: int, ticket: Ticket | None, created_at_ms: int
) -> NewJob:
    """The row of a durable job."""
    request = orjson.dumps(wish.words)
    deadline_ms = task.deadline_ms
    return NewJob(
        id=wish.job_id,
        key_id=wish.holder.key_id,
        model=wish.offer.model,
        task=TaskKind.GENERATE,
        priority=wish.priority,
        request_json=request.decode(),
        request_hash=hashlib.sha256(request).hexdigest(),
        seed=seed,
        spec_json=wish.offer.spec_json,
        created_at_ms=created_at_ms,
        session_id=task.session_id,
        metadata_json=orjson.dumps(task.metadata).decode() if task.metadata else None,
        deadline_at_ms=created_at_ms + deadline_ms if deadline_ms else None,
        cancel_on_disconnect=task.cancel_on_disconnect,
        weight=wish.holder.weight,
        idempotency_key=None if ticket is None else ticket.key,
        idempotency_hash=None if ticket is None else ticket.digest,
    )


def queued_event(job_id: JobId, position: int) -> EventRow:
    """The first event of a job's stream."""
    told = {"job_id": job_id, "queue_position": position}
    return EventRow(job_id, 1, EventKind.QUEUED, orjson.dumps(told).decode())


def identity_of(row: NewJob | JobRow) -> Identity:
    """What the live job must know of its row."""
    return Identity(
        id=row.id,
        key_id=row.key_id,
        model=row.model,
        task=row.task,
        created_at_ms=row.created_at_ms,
        cancel_on_disconnect=row.cancel_on_disconnect,
    )


def accepted(job_id: JobId, status: JobStatus, position: int) -> TaskAccepted:
    """The answer to a submission; position 0 is that of a job which does not wait."""
    return TaskAccepted(
        job_id=job_id,
        status=status,
        queue_position=position,
        events_url=f"/v2/tasks/{job_id}/events",
    )


def arrival_of(wish: Wish, now: float, *, slots: int = 1, durable: bool) -> JobFacts:
    """What the machine must know."""
    return JobFacts(
        id=wish.job_id,
        model=wish.offer.model,
        task=TaskKind.GENERATE,
        priority=wish.priority,
        key_id=wish.holder.key_id,
        spec=wish.offer.spec,
        queued_at=now,
        deadline_at=None if wish.deadline_s is None else now + wish.deadline_s,
        slots=slots,
        durable=durable,
        pin_pool=wish.pin,
        weight=wish.holder.weight,
    )
