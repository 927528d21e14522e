"""The one table that maps each write to its SQL; every write is applied inside a transaction.

The writer calls perform() with writes of the port; the numbers it returns go back to the caller.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

from orchestrator_core.errors import Code, Refusal
from orchestratord.store.pool_statements import PoolStatements
from orchestratord.store.port import StaleWriteError
from orchestratord.store.rows import EventRow, KeyRow, UsageRow
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

__all__ = ["Statements"]


def _stale(what: str) -> StaleWriteError:
    return StaleWriteError(Refusal(Code.CONFLICT, f"the stored row disagrees: {what}"))


class Statements:
    """The writes as statements of one open connection."""

    def __init__(self, connection: sqlite3.Connection, sql: Mapping[str, str]) -> None:
        # One cursor for all writes: its statements stay prepared and nothing is allocated anew.
        self._cursor = connection.cursor()
        self._execute = self._cursor.execute
        self._sql = sql
        self._append_sql = sql["append_event"]
        pools = PoolStatements(self._cursor, sql, self._insert_key)
        self._table: Final[dict[type[Write], Callable[[Any], int]]] = {
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
            PutPool: pools.put,
            DropPool: pools.drop,
            PutJoinToken: pools.put_token,
            UseJoinToken: pools.use_token,
            RecordUsage: self._record_usage,
            Strip: self._strip,
            Purge: self._purge,
            PurgeUsage: self._purge_usage,
        }
        self._insert_job = sql["insert_job"]
        self._insert_request = sql["insert_request"]
        self._insert_first_event = sql["insert_first_event"]

    def perform(self, write: Write) -> int:
        """Apply one write; raises StaleWriteError when a compare-and-set finds another row."""
        return self._table[type(write)](write)

    def _admit(self, write: AdmitJob) -> int:
        job = write.job
        self._execute(
            self._insert_job,
            (
                job.id,
                job.key_id,
                job.model,
                job.task,
                job.priority,
                job.request_hash,
                job.seed,
                job.session_id,
                job.metadata_json,
                job.spec_json,
                job.cancel_on_disconnect,
                job.created_at_ms,
                job.deadline_at_ms,
                job.weight,
                job.idempotency_key,
                job.idempotency_hash,
            ),
        )
        self._execute(self._insert_request, (job.id, job.request_json))
        event = write.queued_event
        self._execute(self._insert_first_event, (job.id, event.kind, event.data))
        return 1

    def _append(self, write: AppendEvents) -> int:
        return self._append_all(write.events)

    def _append_all(self, events: tuple[EventRow, ...]) -> int:
        execute, sql, cursor = self._execute, self._append_sql, self._cursor
        for event in events:
            execute(sql, (event.job_id, event.seq, event.kind, event.data))
            if cursor.rowcount != 1:
                raise _stale(f"{event.job_id} takes no event {event.seq} now")
        return len(events)

    def _swap(self, name: str, parameters: tuple[object, ...]) -> None:
        self._execute(self._sql[name], parameters)
        if self._cursor.rowcount != 1:
            raise _stale(f"{name} of {parameters[0]}, attempt {parameters[1]}")

    def _dispatched(self, write: MarkDispatched) -> int:
        key = (write.job_id, write.attempt)
        self._swap("mark_dispatched", key)
        worker = (write.pool_id, write.worker_id, write.worker_name, write.at_ms)
        self._execute(self._sql["insert_attempt"], (*key, *worker, write.kept_tokens))
        return 1

    def _running(self, write: MarkRunning) -> int:
        self._swap("mark_running", (write.job_id, write.attempt, write.at_ms))
        self._append_all(write.events)
        return 1

    def _requeued(self, write: MarkRequeued) -> int:
        key = (write.job_id, write.attempt)
        self._swap("mark_requeued", key)
        ending = ("broken", write.reason, write.message, write.tokens, write.at_ms)
        self._execute(self._sql["end_attempt"], (*key, *ending))
        self._append_all(write.events)
        return 1

    def _cancel(self, write: RequestCancel) -> int:
        self._execute(self._sql["request_cancel"], (write.job_id, write.at_ms))
        return self._cursor.rowcount

    def _finish(self, write: FinishJob) -> int:
        key = (write.job_id, write.attempt)
        # The events go first: afterwards the row says that the job takes no more of them.
        self._append_all(write.final_events)
        self._swap(
            "finish_job",
            (
                *key,
                write.status,
                write.at_ms,
                write.code,
                write.message,
                write.stop_reason,
                write.tokens_out,
                write.usage_json,
                write.timings_json,
                write.output,
            ),
        )
        ending = (ATTEMPT_STATUS_AT_END[write.status], write.code, write.message)
        self._execute(self._sql["end_attempt"], (*key, *ending, write.tokens_out, write.at_ms))
        if write.deletes_request:
            self._execute(self._sql["delete_request"], (write.job_id,))
        if write.usage is not None:
            self._insert_usage(write.usage)
        return 1

    def _put_key(self, write: PutKey) -> int:
        self._insert_key(write.key)
        return 1

    def _insert_key(self, key: KeyRow) -> None:
        scopes_json = json.dumps(key.scopes)
        models_json = None if key.models is None else json.dumps(key.models)
        times = (key.created_at_ms, key.expires_at_ms, key.revoked_at_ms)
        limits = (key.priority, key.weight, key.requests_per_minute, key.concurrent_jobs)
        self._execute(
            self._sql["put_key"],
            (
                key.id,
                key.name,
                key.hash,
                scopes_json,
                *times,
                models_json,
                *limits,
                key.last_used_at_ms,
                key.pool_id,
            ),
        )

    def _revoke_key(self, write: RevokeKey) -> int:
        self._execute(self._sql["revoke_key"], (write.key_id, write.at_ms))
        return self._cursor.rowcount

    def _note_key_use(self, write: NoteKeyUse) -> int:
        known = 0
        for key_id, at_ms in write.used_at_ms.items():
            self._execute(self._sql["note_key_use"], (key_id, at_ms))
            known += self._cursor.rowcount
        return known

    def _record_usage(self, write: RecordUsage) -> int:
        self._insert_usage(write.usage)
        return 1

    def _insert_usage(self, usage: UsageRow) -> None:
        self._execute(
            self._sql["insert_usage"],
            (
                usage.job_id,
                usage.key_id,
                usage.model,
                usage.task,
                usage.status,
                usage.durable,
                usage.prompt_tokens,
                usage.completion_tokens,
                usage.attempts,
                json.dumps(usage.workers),
                usage.created_at_ms,
                usage.ended_at_ms,
            ),
        )

    def _strip(self, write: Strip) -> int:
        rows = self._execute(self._sql["jobs_to_strip"], (write.before_ms, write.limit)).fetchall()
        for row in rows:
            for name in ("delete_request", "strip_events", "strip_job"):
                self._execute(self._sql[name], row)
        return len(rows)

    def _purge_usage(self, write: PurgeUsage) -> int:
        self._execute(self._sql["purge_usage"], (write.before_ms, write.limit))
        return self._cursor.rowcount

    def _purge(self, write: Purge) -> int:
        self._execute(self._sql["purge"], (write.before_ms, write.limit))
        return self._cursor.rowcount
