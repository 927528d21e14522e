"""Brings unfinished jobs back after a restart: rows become live jobs and facts for the machine.

A row that cannot be read any more ends its job with a clear error; it never ends the daemon.
"""

from typing import Final, NamedTuple

import orjson
import structlog
from pydantic import ValidationError

from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import WorkerSpec
from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import PoolId
from orchestrator_core.scheduler.commands import Finish
from orchestrator_core.scheduler.events import JobFacts, JobRestored
from orchestratord.runtime.jobs.durable_job import DurableJob, Journal
from orchestratord.runtime.jobs.kept_text import (
    KEPT_LIMIT_BYTES,
    NOTHING_KEPT,
    KeptText,
    committed_text,
)
from orchestratord.runtime.jobs.live import LiveJobs
from orchestratord.runtime.loop import Loop
from orchestratord.serving.admission.ledger import Ledger
from orchestratord.serving.admission.records import identity_of
from orchestratord.serving.attempts.continuation import obstacles
from orchestratord.serving.attempts.wording import task_wording
from orchestratord.store.port import JobStore
from orchestratord.store.rows import JobRow, StoredJob
from orchestratord.upstream.loose import Json, as_object, as_objects, as_text

__all__ = ["restore_jobs"]

_log: Final = structlog.stdlib.get_logger()


class _Row(NamedTuple):
    """A row as far as it can be read, and what another worker can go on behind."""

    found: StoredJob
    words: Json | None
    spec: WorkerSpec | None
    kept: KeptText


async def restore_jobs(
    *,
    journal: Journal,
    jobs: LiveJobs,
    loop: Loop,
    catalog: Catalog,
    ledger: Ledger,
    default_max_tokens: int,
) -> int:
    """Restore every unfinished job in its old place; returns how many there were."""
    stored = await journal.store.restore()
    rows = [await _read(journal.store, found) for found in stored]
    # One reading of the time for all: two would shuffle jobs that came within the same millisecond.
    now, now_ms = loop.now(), journal.clock.unix_ms()
    for found, words, spec, kept in rows:
        row = found.job
        # A model that is in no catalogue is an external engine's; its pool need not be there yet.
        entry = catalog.find(row.model)
        job = DurableJob(
            identity_of(row),
            journal=journal,
            word=task_wording(
                words or {},
                entry.sampling.model_dump(exclude_none=True) if entry else {},
                default_max_tokens,
            ),
            last_seq=found.last_seq,
            attempted=found.last_seq > 1,
            kept=kept,
        )
        jobs.add(job)
        if words is None or spec is None:
            what = "request" if words is None else "worker"
            _log.error("job.unreadable", job_id=row.id, what=what)
            job.on_finish(_unreadable(row, what))
            continue
        ledger.restore(row.id, row.key_id, row.model, len((row.request_json or "").encode()))
        loop.post(
            JobRestored(
                at=now,
                job=_facts(row, words, spec, now, now_ms),
                attempt=row.attempt,
                was_alive=row.status is not JobStatus.QUEUED,
                pool_id=row.pool_id,
                tokens_kept=found.tokens_committed,
                resumable=kept is not NOTHING_KEPT,
                cancel_requested=found.cancel_requested,
            )
        )
    return len(stored)


async def _read(store: JobStore, found: StoredJob) -> _Row:
    words, spec = _words(found.job), _spec(found.job)
    kept = NOTHING_KEPT
    if found.tokens_committed and words is not None and spec is not None:
        if not obstacles(words, external=spec.model.source == "external"):
            kept = await committed_text(store, found.job.id)
        # All that readers were shown is kept, or nothing is.
        fits = len(kept.text.encode()) <= KEPT_LIMIT_BYTES
        if not fits or kept.tokens != found.tokens_committed:
            kept = NOTHING_KEPT
    return _Row(found, words, spec, kept)


def _words(row: JobRow) -> Json | None:
    """What the job asks; None when nothing can be put to an engine."""
    try:
        words = as_object(orjson.loads(row.request_json or "null"))
    except orjson.JSONDecodeError:
        return None
    if words is None or not (as_text(words.get("prompt")) or as_objects(words.get("messages"))):
        return None
    return words


def _spec(row: JobRow) -> WorkerSpec | None:
    try:
        return WorkerSpec.model_validate_json(row.spec_json)
    except ValidationError:
        return None


def _unreadable(row: JobRow, what: str) -> Finish:
    return Finish(
        job_id=row.id,
        attempt=row.attempt,
        status=JobStatus.FAILED,
        code=Code.DATA_CORRUPT,
        message=f"the stored {what} of this job cannot be read any more: submit it again",
    )


def _pin(words: Json) -> PoolId | None:
    pool = as_text((as_object(words.get("pin")) or {}).get("pool"))
    return PoolId(pool) if pool else None


def _facts(row: JobRow, words: Json, spec: WorkerSpec, now: float, now_ms: int) -> JobFacts:
    deadline_at = None
    if row.deadline_at_ms is not None:
        deadline_at = now + (row.deadline_at_ms - now_ms) / 1000
    return JobFacts(
        id=row.id,
        model=row.model,
        task=row.task,
        priority=row.priority,
        key_id=row.key_id,
        spec=spec,
        queued_at=now - max(0, now_ms - row.created_at_ms) / 1000,
        deadline_at=deadline_at,
        pin_pool=_pin(words),
        weight=row.weight,
    )
