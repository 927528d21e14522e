"""Turns stored rows into what clients are shown; pure."""

import orjson

from orchestrator_core.clock import rfc3339
from orchestrator_core.contracts.tasks import AttemptView, JobView, Timings, Usage
from orchestratord.store.rows import AttemptRow, JobRow

__all__ = ["job_view"]


def job_view(
    row: JobRow, attempts: list[AttemptRow] | None = None, why: list[str] | None = None
) -> JobView:
    """A stored job; attempts and reasons only where one job is shown."""
    return JobView(
        id=row.id,
        status=row.status,
        model=row.model,
        task=row.task,
        priority=row.priority,
        created_at=rfc3339(row.created_at_ms),
        started_at=_time(row.started_at_ms),
        ended_at=_time(row.ended_at_ms),
        attempt=row.attempt,
        worker_id=row.worker_id,
        tokens_out=row.tokens_out,
        stop_reason=row.stop_reason,
        error_code=row.error_code,
        error_message=row.error_message,
        seed=row.seed,
        session_id=row.session_id,
        metadata=orjson.loads(row.metadata_json) if row.metadata_json else None,
        usage=Usage.model_validate_json(row.usage_json) if row.usage_json else None,
        timings=Timings.model_validate_json(row.timings_json) if row.timings_json else None,
        output=row.output,
        attempts=None if attempts is None else [_attempt_view(found) for found in attempts],
        why=why,
    )


def _attempt_view(row: AttemptRow) -> AttemptView:
    return AttemptView(
        attempt=row.attempt,
        pool_id=row.pool_id,
        worker_id=row.worker_id,
        worker_name=row.worker_name,
        status=row.status,
        reason=row.reason,
        message=row.message,
        tokens=row.tokens,
        kept_tokens=row.kept_tokens,
        started_at=rfc3339(row.started_at_ms),
        ended_at=_time(row.ended_at_ms),
    )


def _time(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else rfc3339(unix_ms)
