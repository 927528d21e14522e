"""Brings unfinished jobs back after a restart: rows become live jobs and facts for the machine."""

import orjson

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import WorkerSpec
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.ids import PoolId
from orchestrator_core.scheduler.events import JobFacts, JobRestored
from orchestratord.runtime.durable_job import DurableJob, Identity, Journal
from orchestratord.runtime.live import LiveJobs
from orchestratord.runtime.loop import Loop
from orchestratord.serving.gate import task_wording
from orchestratord.store.rows import JobRow, StoredJob
from orchestratord.upstream.loose import Json, as_object, as_text

__all__ = ["restore_jobs"]


async def restore_jobs(
    *, journal: Journal, jobs: LiveJobs, loop: Loop, catalog: Catalog, default_max_tokens: int
) -> int:
    """Restore every unfinished job in its old place; returns how many there were."""
    stored = await journal.store.restore()
    # One reading for all: two readings would shuffle jobs that came within the same millisecond.
    now, now_ms = loop.now(), journal.clock.unix_ms()
    for found in stored:
        # A model that is in no catalogue is an external engine's; its pool need not be there yet.
        entry = catalog.find(found.job.model)
        words = as_object(orjson.loads(found.job.request_json or "{}")) or {}
        word = task_wording(
            words,
            entry.sampling.model_dump(exclude_none=True) if entry else {},
            default_max_tokens,
        )
        job = DurableJob(
            _identity(found.job),
            journal=journal,
            word=word,
            last_seq=found.last_seq,
            attempted=found.last_seq > 1,
        )
        jobs.add(job)
        loop.post(_restored(found, _pin(words), now, now_ms))
    return len(stored)


def _identity(row: JobRow) -> Identity:
    return Identity(
        id=row.id,
        key_id=row.key_id,
        model=row.model,
        task=row.task,
        created_at_ms=row.created_at_ms,
    )


def _pin(words: Json) -> PoolId | None:
    pool = as_text((as_object(words.get("pin")) or {}).get("pool"))
    return PoolId(pool) if pool else None


def _restored(found: StoredJob, pin_pool: PoolId | None, now: float, now_ms: int) -> JobRestored:
    row = found.job
    deadline_at = None
    if row.deadline_at_ms is not None:
        deadline_at = now + (row.deadline_at_ms - now_ms) / 1000
    facts = JobFacts(
        id=row.id,
        model=row.model,
        task=row.task,
        priority=row.priority,
        key_id=row.key_id,
        spec=WorkerSpec.model_validate_json(row.spec_json),
        queued_at=now - max(0, now_ms - row.created_at_ms) / 1000,
        deadline_at=deadline_at,
        pin_pool=pin_pool,
    )
    return JobRestored(
        at=now,
        job=facts,
        attempt=row.attempt,
        was_alive=row.status is not JobStatus.QUEUED,
        tokens_kept=found.tokens_committed,
        cancel_requested=found.cancel_requested,
    )
