"""The tables of the memory adapter and what each write does to them.

A write is checked in full before the first change, so that it applies whole or not at all.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code, DataError, Refusal
from orchestrator_core.ids import JobId, KeyId
from orchestratord.store.memory_hosts import HostTables
from orchestratord.store.port import StaleWriteError
from orchestratord.store.rows import (
    TERMINAL_KINDS,
    AttemptRow,
    AttemptStatus,
    EventRow,
    JobRow,
    KeyRow,
    UsageRow,
    UsageTotal,
)
from orchestratord.store.writes import (
    ATTEMPT_STATUS_AT_END,
    AdmitJob,
    AppendEvents,
    DropPool,
    FinishJob,
    MarkDispatched,
    MarkRequeued,
    MarkRunning,
    NoteKeyUse,
    Purge,
    PurgeUsage,
    PutJoinToken,
    PutKey,
    PutPool,
    RecordUsage,
    RequestCancel,
    RevokeKey,
    Strip,
    UseJoinToken,
    Write,
)

__all__ = ["MemoryTables"]


def _stale(what: str) -> StaleWriteError:
    return StaleWriteError(Refusal(Code.CONFLICT, f"the stored row disagrees: {what}"))


def _taken(what: str) -> DataError:
    return DataError(Refusal(Code.CONFLICT, f"the store refused a write: {what} exists"))


class MemoryTables:
    """Rows by their keys; the events of a job stand in the order of their numbers."""

    def __init__(self) -> None:
        self.jobs: dict[JobId, JobRow] = {}
        self.attempts: dict[JobId, list[AttemptRow]] = {}
        self.events: dict[JobId, list[EventRow]] = {}
        self.usage: dict[JobId, UsageRow] = {}
        self._stripped: set[JobId] = set()
        self._idempotent: set[tuple[KeyId, str | None]] = set()
        self.keys: dict[KeyId, KeyRow] = {}
        self.hosts = HostTables(self.keys, self._keep_key)
        self._table: dict[type[Write], Callable[[Any], int]] = {
            AdmitJob: self._admit,
            AppendEvents: self._append,
            MarkDispatched: self._dispatched,
            MarkRunning: self._running,
            MarkRequeued: self._requeued,
            RequestCancel: self._cancel,
            FinishJob: self._finish,
            PutKey: self._put_key,
            RevokeKey: self._revoke_key,
            NoteKeyUse: self._note_key_use,
            PutPool: self.hosts.put,
            DropPool: self.hosts.drop,
            PutJoinToken: self.hosts.put_token,
            UseJoinToken: self.hosts.use_token,
            RecordUsage: self._record_usage,
            Strip: self._strip,
            Purge: self._purge,
            PurgeUsage: self._purge_usage,
        }

    def perform(self, write: Write) -> int:
        """Apply one write, or raise and change nothing."""
        return self._table[type(write)](write)

    @staticmethod
    def without_texts(job: JobRow) -> JobRow:
        """The job as a page shows it."""
        return replace(job, request_json=None, output=None)

    def usage_totals(self, key_id: KeyId | None, since_ms: int | None) -> list[UsageTotal]:
        """Usage per key and model, the most tokens first."""
        groups: dict[tuple[KeyId, str], list[UsageRow]] = {}
        for row in self.usage.values():
            if key_id in (None, row.key_id) and (since_ms is None or row.ended_at_ms >= since_ms):
                groups.setdefault((row.key_id, row.model), []).append(row)
        totals = [
            UsageTotal(
                key_id=owner,
                model=model,
                jobs=len(rows),
                completed=sum(row.status is JobStatus.COMPLETED for row in rows),
                prompt_tokens=sum(row.prompt_tokens for row in rows),
                completion_tokens=sum(row.completion_tokens for row in rows),
            )
            for (owner, model), rows in groups.items()
        ]
        totals.sort(key=lambda t: (-(t.prompt_tokens + t.completion_tokens), t.key_id, t.model))
        return totals

    def _admit(self, write: AdmitJob) -> int:
        job = write.job
        if job.id in self.jobs:
            raise _taken(job.id)
        name = (job.key_id, job.idempotency_key)
        if job.idempotency_key is not None and name in self._idempotent:
            raise _taken(f"a job under the idempotency key {job.idempotency_key}")
        if job.idempotency_key is not None:
            self._idempotent.add(name)
        self.jobs[job.id] = JobRow(
            id=job.id,
            key_id=job.key_id,
            model=job.model,
            task=job.task,
            priority=job.priority,
            status=JobStatus.QUEUED,
            attempt=0,
            request_json=job.request_json,
            request_hash=job.request_hash,
            seed=job.seed,
            session_id=job.session_id,
            metadata_json=job.metadata_json,
            spec_json=job.spec_json,
            cancel_on_disconnect=job.cancel_on_disconnect,
            created_at_ms=job.created_at_ms,
            deadline_at_ms=job.deadline_at_ms,
            weight=job.weight,
            idempotency_key=job.idempotency_key,
            idempotency_hash=job.idempotency_hash,
        )
        self.attempts[job.id] = []
        self.events[job.id] = [write.queued_event]
        return 1

    def _append(self, write: AppendEvents) -> int:
        self._check_events(write.events)
        self._append_all(write.events)
        return len(write.events)

    def _dispatched(self, write: MarkDispatched) -> int:
        job = self._expect(write.job_id, write.attempt - 1, JobStatus.QUEUED)
        self.jobs[job.id] = replace(
            job,
            status=JobStatus.DISPATCHED,
            attempt=write.attempt,
            pool_id=write.pool_id,
            worker_id=write.worker_id,
            worker_name=write.worker_name,
        )
        self.attempts[job.id].append(
            AttemptRow(
                job_id=job.id,
                attempt=write.attempt,
                pool_id=write.pool_id,
                worker_id=write.worker_id,
                worker_name=write.worker_name,
                status="running",
                started_at_ms=write.at_ms,
                kept_tokens=write.kept_tokens,
            )
        )
        return 1

    def _running(self, write: MarkRunning) -> int:
        job = self._expect(write.job_id, write.attempt, JobStatus.DISPATCHED)
        self._check_events(write.events)
        started = write.at_ms if job.started_at_ms is None else job.started_at_ms
        self.jobs[job.id] = replace(job, status=JobStatus.RUNNING, started_at_ms=started)
        self._append_all(write.events)
        return 1

    def _requeued(self, write: MarkRequeued) -> int:
        job = self._expect(write.job_id, write.attempt, JobStatus.DISPATCHED, JobStatus.RUNNING)
        self._check_events(write.events)
        self.jobs[job.id] = replace(job, status=JobStatus.QUEUED)
        self._end_attempt(write, "broken", write.reason, write.tokens)
        self._append_all(write.events)
        return 1

    def _cancel(self, write: RequestCancel) -> int:
        job = self.jobs.get(write.job_id)
        if job is None or job.ended_at_ms is not None or job.cancel_requested_at_ms is not None:
            return 0
        self.jobs[job.id] = replace(job, cancel_requested_at_ms=write.at_ms)
        return 1

    def _finish(self, write: FinishJob) -> int:
        self._check_events(write.final_events)
        job = self._expect(
            write.job_id,
            write.attempt,
            JobStatus.QUEUED,
            JobStatus.DISPATCHED,
            JobStatus.RUNNING,
        )
        if write.usage is not None:
            self._record_usage(RecordUsage(write.usage))
        self.jobs[job.id] = replace(
            job,
            status=write.status,
            ended_at_ms=write.at_ms,
            error_code=write.code,
            error_message=write.message,
            stop_reason=write.stop_reason,
            tokens_out=write.tokens_out,
            usage_json=write.usage_json,
            timings_json=write.timings_json,
            output=write.output,
            request_json=None if write.deletes_request else job.request_json,
        )
        status = ATTEMPT_STATUS_AT_END[write.status]
        self._end_attempt(write, status, write.code, write.tokens_out)
        self._append_all(write.final_events)
        return 1

    def _put_key(self, write: PutKey) -> int:
        self._keep_key(write.key)
        return 1

    def _keep_key(self, key: KeyRow) -> None:
        if any(other.hash == key.hash and other.id != key.id for other in self.keys.values()):
            raise _taken("a key of this hash")
        self.keys[key.id] = key

    def _revoke_key(self, write: RevokeKey) -> int:
        key = self.keys.get(write.key_id)
        if key is None or key.revoked_at_ms is not None:
            return 0
        self.keys[key.id] = replace(key, revoked_at_ms=write.at_ms)
        return 1

    def _note_key_use(self, write: NoteKeyUse) -> int:
        known = {key_id: at for key_id, at in write.used_at_ms.items() if key_id in self.keys}
        for key_id, at_ms in known.items():
            self.keys[key_id] = replace(self.keys[key_id], last_used_at_ms=at_ms)
        return len(known)

    def _record_usage(self, write: RecordUsage) -> int:
        if write.usage.job_id in self.usage:
            raise _taken(f"usage of {write.usage.job_id}")
        self.usage[write.usage.job_id] = write.usage
        return 1

    def _strip(self, write: Strip) -> int:
        old = self._ended_before(write.before_ms)
        ended = [job_id for job_id in old if job_id not in self._stripped]
        for job_id in ended[: write.limit]:
            self.jobs[job_id] = self.without_texts(self.jobs[job_id])
            events = self.events[job_id]
            self.events[job_id] = [row for row in events if row.kind in TERMINAL_KINDS]
            self._stripped.add(job_id)
        return len(ended[: write.limit])

    def _purge(self, write: Purge) -> int:
        gone = self._ended_before(write.before_ms)[: write.limit]
        for job_id in gone:
            job = self.jobs.pop(job_id)
            del self.attempts[job_id], self.events[job_id]
            self._stripped.discard(job_id)
            self._idempotent.discard((job.key_id, job.idempotency_key))
        return len(gone)

    def _purge_usage(self, write: PurgeUsage) -> int:
        oldest = sorted(self.usage)[: write.limit]
        gone = [job_id for job_id in oldest if self.usage[job_id].ended_at_ms < write.before_ms]
        for job_id in gone:
            del self.usage[job_id]
        return len(gone)

    def _ended_before(self, before_ms: int) -> list[JobId]:
        ended = [
            (job.ended_at_ms, job.id)
            for job in self.jobs.values()
            if job.ended_at_ms is not None and job.ended_at_ms < before_ms
        ]
        return [job_id for _, job_id in sorted(ended)]

    def _expect(self, job_id: JobId, attempt: int, *statuses: JobStatus) -> JobRow:
        job = self.jobs.get(job_id)
        if job is None or job.attempt != attempt or job.status not in statuses:
            raise _stale(f"{job_id}, attempt {attempt}")
        return job

    def _check_events(self, events: tuple[EventRow, ...]) -> None:
        next_seq: dict[JobId, int] = {}
        for event in events:
            job = self.jobs.get(event.job_id)
            if job is None or job.ended_at_ms is not None:
                raise _stale(f"{event.job_id} takes no event now")
            expected = next_seq.get(job.id, self.events[job.id][-1].seq + 1)
            if event.seq != expected:
                raise _stale(f"{event.job_id} takes event {expected}, not {event.seq}")
            next_seq[job.id] = expected + 1

    def _append_all(self, events: tuple[EventRow, ...]) -> None:
        for event in events:
            self.events[event.job_id].append(event)

    def _end_attempt(
        self,
        write: MarkRequeued | FinishJob,
        status: AttemptStatus,
        reason: str | None,
        tokens: int,
    ) -> None:
        attempts = self.attempts[write.job_id]
        if attempts and attempts[-1].status == "running":
            attempts[-1] = replace(
                attempts[-1],
                status=status,
                reason=reason,
                message=write.message,
                tokens=tokens,
                ended_at_ms=write.at_ms,
            )
