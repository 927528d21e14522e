"""What is kept of a call that is not stored: its course without its text, for a short while."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from orchestrator_core.clock import Clock, rfc3339
from orchestrator_core.contracts.tasks import AttemptView, JobStatus, JobView, Priority, TaskKind
from orchestrator_core.errors import Code
from orchestrator_core.ids import JobId, KeyId
from orchestrator_core.scheduler.commands import (
    Finish,
    PersistDispatched,
    PersistRequeued,
    PersistRunning,
)
from orchestratord.store.rows import AttemptStatus, UsageRow
from orchestratord.store.writes import ATTEMPT_STATUS_AT_END

__all__ = ["CallRecord", "RecentCalls"]

_KEEP_S: Final = 600.0
_KEEP_CALLS: Final = 10_000
# So many more may come before those that ended are looked for again among all that live.
_SLACK_CALLS: Final = 256


@dataclass(slots=True)
class _Attempt:
    """One attempt in numbers; what people read of it is worded only when they ask."""

    number: int
    pool_id: str
    worker_id: str
    started_at_ms: int
    status: AttemptStatus = "running"
    kept_tokens: int = 0
    reason: Code | None = None
    message: str | None = None
    tokens: int = 0
    ended_at_ms: int | None = None

    def view(self) -> AttemptView:
        return AttemptView(
            attempt=self.number,
            pool_id=self.pool_id,
            worker_id=self.worker_id,
            status=self.status,
            reason=self.reason,
            message=self.message,
            tokens=self.tokens,
            kept_tokens=self.kept_tokens,
            started_at=rfc3339(self.started_at_ms),
            ended_at=_time(self.ended_at_ms),
        )


@dataclass(slots=True)
class CallRecord:
    """The course of one call."""

    id: JobId
    key_id: KeyId
    model: str
    clock: Clock
    created_at_ms: int
    priority: Priority = Priority.INTERACTIVE
    task: TaskKind = TaskKind.GENERATE
    status: JobStatus = JobStatus.QUEUED
    tokens: int = 0
    ended_at_s: float | None = None
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    finish: Finish | None = None
    attempts: list[_Attempt] = field(default_factory=list[_Attempt])

    def dispatched(self, command: PersistDispatched) -> None:
        """A worker was chosen."""
        self.status = JobStatus.DISPATCHED
        found = _Attempt(command.attempt, command.pool_id, command.worker_id, self.clock.unix_ms())
        found.kept_tokens = self.tokens
        self.attempts.append(found)

    def running(self, command: PersistRunning) -> None:  # noqa: ARG002 - the fact itself counts.
        """The worker took it."""
        self.status = JobStatus.RUNNING
        self.started_at_ms = self.clock.unix_ms()

    def requeued(self, command: PersistRequeued) -> None:
        """The attempt came to nothing but the tokens that are kept."""
        self.status = JobStatus.QUEUED
        self._close_attempt("broken", command.reason, command.message)
        self.tokens = command.keep_tokens

    def finished(self, command: Finish) -> None:
        """The call is over."""
        self.status = command.status
        self.finish = command
        self.ended_at_ms = self.clock.unix_ms()
        self.ended_at_s = self.clock.monotonic_s()
        status = ATTEMPT_STATUS_AT_END[command.status]
        self._close_attempt(status, command.code, command.message)

    def usage(self, command: Finish) -> UsageRow:
        """What the call used, for the books."""
        usage = command.usage
        return UsageRow(
            job_id=self.id,
            key_id=self.key_id,
            model=self.model,
            task=self.task,
            status=command.status,
            created_at_ms=self.created_at_ms,
            ended_at_ms=self.ended_at_ms or self.clock.unix_ms(),
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else self.tokens,
            attempts=len(self.attempts),
            workers=tuple(attempt.worker_id for attempt in self.attempts),
            durable=False,
        )

    def _close_attempt(
        self, status: AttemptStatus, reason: Code | None, message: str | None
    ) -> None:
        if self.attempts and self.attempts[-1].status == "running":
            last = self.attempts[-1]
            last.status, last.reason, last.message = status, reason, message
            last.tokens, last.ended_at_ms = self.tokens, self.clock.unix_ms()

    def view(self, why: list[str] | None = None) -> JobView:
        """The call as it is listed and shown."""
        finish = self.finish
        return JobView(
            id=self.id,
            status=self.status,
            model=self.model,
            task=self.task,
            priority=self.priority,
            created_at=rfc3339(self.created_at_ms),
            started_at=_time(self.started_at_ms),
            ended_at=_time(self.ended_at_ms),
            attempt=len(self.attempts),
            worker_id=self.attempts[-1].worker_id if self.attempts else None,
            durable=False,
            tokens_out=self.tokens,
            stop_reason=finish.stop_reason if finish else None,
            error_code=finish.code if finish else None,
            error_message=finish.message if finish else None,
            usage=finish.usage if finish else None,
            timings=finish.timings if finish else None,
            attempts=[attempt.view() for attempt in self.attempts],
            why=why,
        )


def _time(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else rfc3339(unix_ms)


class RecentCalls:
    """Live calls and those that ended a short while ago, bounded in number and age."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: OrderedDict[JobId, CallRecord] = OrderedDict()
        self._full_at = _KEEP_CALLS

    def add(self, record: CallRecord) -> None:
        """Keep a new call in view."""
        self._records[record.id] = record
        if len(self._records) > self._full_at:
            self._drop_oldest_ended()

    def get(self, job_id: str) -> CallRecord | None:
        """Look a call up."""
        return self._records.get(JobId(job_id))

    def newest_first(self) -> Iterator[CallRecord]:
        """All calls in view."""
        return reversed(self._records.values())

    def forget_old(self) -> None:
        """Drop what ended long ago; called once a second."""
        limit = self._clock.monotonic_s() - _KEEP_S
        stale = [
            key
            for key, record in self._records.items()
            if record.ended_at_s is not None and record.ended_at_s < limit
        ]
        for key in stale:
            del self._records[key]

    def _drop_oldest_ended(self) -> None:
        ended = [key for key, record in self._records.items() if record.ended_at_s is not None]
        for key in ended[: len(self._records) - _KEEP_CALLS]:
            del self._records[key]
        self._full_at = max(_KEEP_CALLS, len(self._records)) + _SLACK_CALLS
