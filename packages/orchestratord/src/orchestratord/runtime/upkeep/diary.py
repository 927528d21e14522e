"""Writes one log line per state change of a job, once it is durable; never a word of its text.

The store tells it of each write. Lines of one round of the loop leave in one piece, made by hand:
a call of the API ends thousands of times a second.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import orjson
import structlog

from orchestrator_core.clock import Clock
from orchestratord.store.rows import UsageRow
from orchestratord.store.writes import (
    AdmitJob,
    FinishJob,
    MarkDispatched,
    MarkRequeued,
    MarkRunning,
    RecordUsage,
    RequestCancel,
    Write,
)

__all__ = ["Diary", "line_of"]

_Fields = dict[str, object]


class Diary:
    """The listener of one store."""

    def __init__(self, *, clock: Clock, write: Callable[[bytes], object]) -> None:
        self._clock = clock
        self._write = write
        self._lines: list[_Fields] = []

    def note(self, write: Write) -> None:
        """Tell of a write that is on disk; most are no change of a state."""
        make = _LINES.get(type(write))
        if make is None:
            return
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines += make(write)

    def flush(self) -> None:
        """Write all lines that wait."""
        lines, self._lines = self._lines, []
        if not lines:
            return
        at = datetime.fromtimestamp(self._clock.unix_ms() / 1000, UTC)
        tail = {"level": "info", "timestamp": at.isoformat().replace("+00:00", "Z")}
        self._write(b"".join(line_of(fields, tail) for fields in lines))


def line_of(fields: Mapping[str, object], tail: Mapping[str, object]) -> bytes:
    """One line of the log, in the form that all other lines have; what is None is left out."""
    known = {name: value for name, value in fields.items() if value is not None}
    return orjson.dumps({**known, **tail}, option=orjson.OPT_APPEND_NEWLINE)


def _admitted(write: AdmitJob) -> list[_Fields]:
    job = write.job
    return [
        {
            "event": "job.admitted",
            "job_id": job.id,
            "key_id": job.key_id,
            "model": job.model,
            "priority": job.priority,
            # The request's own log lines carry the same one.
            "correlation_id": structlog.contextvars.get_contextvars().get("correlation_id"),
        }
    ]


def _dispatched(write: MarkDispatched) -> list[_Fields]:
    return [
        {
            "event": "job.dispatched",
            "job_id": write.job_id,
            "attempt": write.attempt,
            "pool": write.pool_id,
            "worker": write.worker_id,
            "kept_tokens": write.kept_tokens or None,
        }
    ]


def _running(write: MarkRunning) -> list[_Fields]:
    return [{"event": "job.running", "job_id": write.job_id, "attempt": write.attempt}]


def _requeued(write: MarkRequeued) -> list[_Fields]:
    job: _Fields = {"job_id": write.job_id, "attempt": write.attempt}
    broken: _Fields = {"event": "attempt.broken", "code": write.reason, "tokens": write.tokens}
    return [{**broken, **job}, {"event": "job.requeued", **job}]


def _cancel_requested(write: RequestCancel) -> list[_Fields]:
    return [{"event": "job.cancel_requested", "job_id": write.job_id}]


def _finished(write: FinishJob) -> list[_Fields]:
    return [
        {
            "event": "job.finished",
            "job_id": write.job_id,
            "attempt": write.attempt,
            "status": write.status,
            "code": write.code,
            "tokens_out": write.tokens_out,
        }
    ]


def _call_ended(write: RecordUsage) -> list[_Fields]:
    usage: UsageRow = write.usage
    return [
        {
            "event": "call.ended",
            "job_id": usage.job_id,
            "key_id": usage.key_id,
            "model": usage.model,
            "status": usage.status,
            "attempt": usage.attempts,
            "worker": usage.workers[-1] if usage.workers else None,
            "tokens_out": usage.completion_tokens,
            "duration_ms": usage.ended_at_ms - usage.created_at_ms,
        }
    ]


_LINES: Final[Mapping[type[Write], Callable[[Any], list[_Fields]]]] = {
    AdmitJob: _admitted,
    MarkDispatched: _dispatched,
    MarkRunning: _running,
    MarkRequeued: _requeued,
    RequestCancel: _cancel_requested,
    FinishJob: _finished,
    RecordUsage: _call_ended,
}
