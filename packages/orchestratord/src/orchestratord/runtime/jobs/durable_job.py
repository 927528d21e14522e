"""A stored job while it lives: turns text and transitions into rows, and rows into shown events.

The pump delivers text here, the performer transitions; both leave as writes to the store. Readers
are shown an event only when its COMMIT has come back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from orchestrator_core.clock import Clock
from orchestrator_core.contracts.tasks import EventKind, JobStatus, TaskKind
from orchestrator_core.errors import OUTCOMES, Code, LlorchError
from orchestrator_core.ids import JobId, KeyId
from orchestrator_core.scheduler.commands import (
    Finish,
    PersistDispatched,
    PersistRequeued,
    PersistRunning,
)
from orchestrator_core.units import KIB
from orchestratord.runtime.flusher import Flusher
from orchestratord.runtime.jobs.joblog import JobLog, LogBudget
from orchestratord.runtime.jobs.kept_text import KEPT_LIMIT_BYTES, NOTHING_KEPT, KeptText
from orchestratord.runtime.jobs.live import Piece, Valve, Wording
from orchestratord.runtime.jobs.parting_logs import PartingLogs
from orchestratord.runtime.workerbook import WorkerAddress, WorkerBook
from orchestratord.store.port import JobStore, Outcome
from orchestratord.store.rows import EventRow, UsageRow
from orchestratord.store.writes import (
    AppendEvents,
    FinishJob,
    MarkDispatched,
    MarkRequeued,
    MarkRunning,
    Write,
)
from orchestratord.upstream.chunks import Shape, prompt_tokens

__all__ = ["DurableJob", "Identity", "Journal"]

_FLUSH_BYTES: Final = 4 * KIB


@dataclass(frozen=True, slots=True)
class Journal:
    """What all stored jobs write through."""

    store: JobStore
    book: WorkerBook
    clock: Clock
    flusher: Flusher
    forget: Callable[[JobId], None]
    on_failure: Callable[[LlorchError], None]
    retain_prompts: bool = False
    logs: LogBudget = field(default_factory=LogBudget)
    partings: PartingLogs | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a usage row and a reader of its events must know of a job."""

    id: JobId
    key_id: KeyId
    model: str
    task: TaskKind
    created_at_ms: int
    cancel_on_disconnect: bool = False


class DurableJob:
    """A LiveJob whose readers may come, go and come back."""

    def __init__(
        self,
        identity: Identity,
        *,
        journal: Journal,
        word: Wording,
        last_seq: int,
        attempted: bool,
        kept: KeptText = NOTHING_KEPT,
    ) -> None:
        self.identity = identity
        self.log = JobLog(last_seq, journal.logs)
        self.word = word
        self.prompt_tokens: int | None = None
        self._journal = journal
        self._next_seq = last_seq + 1
        # A reader must be told of a new attempt only when it was told of an older one.
        self._attempted = attempted
        # One entry for each token; what was read back stands in the place of its first.
        self._text = [kept.text, *[""] * (kept.tokens - 1)] if kept.tokens else []
        self._text_bytes = len(kept.text.encode())
        self._buffer: list[str] = []
        self._buffer_bytes = 0
        self._shown = kept.tokens
        # False once the attempt's first text is on its way, which nothing may delay.
        self._is_silent = True
        self._has_reasoned = False
        self._workers: list[str] = []

    @property
    def id(self) -> JobId:
        """The job's id."""
        return self.identity.id

    @property
    def restartable(self) -> bool:
        """A reader can always be told that the answer starts over."""
        return True

    def kept(self, worker: WorkerAddress) -> KeptText | None:
        """What another attempt can go on behind; None when it would have to start over.

        Text that still waits for its row counts: the row goes to disk before the one that says
        that an attempt is over, so readers are shown it first.
        """
        size_bytes = self._text_bytes + self._buffer_bytes
        if self._has_reasoned or size_bytes > KEPT_LIMIT_BYTES or self.word.obstacles(worker):
            return None
        return KeptText("".join((*self._text, *self._buffer)), self._shown + len(self._buffer))

    def admitted(self, queued: EventRow) -> None:
        """Show the event that the admission has put on disk."""
        self._next_seq = queued.seq + 1
        self.log.commit(queued.seq, queued.kind, queued.data)

    # From the pump

    def deliver(self, pieces: Sequence[Piece], valve: Valve) -> None:  # noqa: ARG002 - rows bound it.
        """Buffer text; the first of an attempt is written at once, the rest in small groups."""
        for piece in pieces:
            chunk = piece.chunk
            if chunk.text:
                self._keep(chunk.text)
            elif chunk.is_progress and self.prompt_tokens is None:
                self.prompt_tokens = prompt_tokens(chunk)
            if chunk.is_reasoning:
                self._has_reasoned = True
        if self._buffer:
            self._plan_flush()

    def deliver_token(self, shape: Shape, text: bytes, now: float, valve: Valve) -> None:  # noqa: ARG002 - as above.
        """Buffer the text of one token."""
        self._keep(text.decode())
        self._plan_flush()

    def _keep(self, text: str) -> None:
        self._buffer.append(text)
        self._buffer_bytes += len(text if text.isascii() else text.encode())

    def _plan_flush(self) -> None:
        if self._is_silent or self._buffer_bytes >= _FLUSH_BYTES:
            self._is_silent = False
            self.flush()
        else:
            self._journal.flusher.want(self)

    def flush(self) -> None:
        """Write what is buffered."""
        row = self._token_row()
        if row is not None:
            self._post(AppendEvents((row,)), (row,))

    # From the performer

    def on_dispatched(self, command: PersistDispatched) -> None:
        """Record the worker; nobody waits for it."""
        name = self._journal.book.name_of(command.pool_id, command.worker_id)
        self._workers.append(command.worker_id)
        self._post(
            MarkDispatched(
                job_id=self.id,
                attempt=command.attempt,
                pool_id=command.pool_id,
                worker_id=command.worker_id,
                worker_name=name,
                at_ms=self._now_ms(),
                kept_tokens=command.kept_tokens,
            ),
            (),
        )

    def on_running(self, command: PersistRunning) -> None:
        """Tell readers that the attempt has begun."""
        row = self._row(
            EventKind.STARTED,
            {
                "attempt": command.attempt,
                "pool_id": command.pool_id,
                "worker_id": command.worker_id,
                "worker_name": self._journal.book.name_of(command.pool_id, command.worker_id),
            },
        )
        self._attempted = True
        write = MarkRunning(
            job_id=self.id, attempt=command.attempt, at_ms=self._now_ms(), events=(row,)
        )
        self._post(write, (row,))

    def on_requeued(self, command: PersistRequeued) -> None:
        """Tell readers how much of the answer stays; text beyond that is dropped."""
        self._cut(command.keep_tokens)
        rows: tuple[EventRow, ...] = ()
        if self._attempted:
            told = {
                "attempt": command.attempt + 1,
                "reason": command.reason,
                "keep_tokens": self._shown,
            }
            rows = (self._row(EventKind.ATTEMPT, told),)
        write = MarkRequeued(
            job_id=self.id,
            attempt=command.attempt,
            reason=command.reason,
            message=command.message,
            tokens=command.tokens,
            at_ms=self._now_ms(),
            events=rows,
        )
        self._post(write, rows)

    def on_finish(self, command: Finish) -> None:
        """Write the one terminal transition with the last text and the terminal event."""
        last = self._token_row()
        rows = (*((last,) if last else ()), self._terminal_row(command))
        usage = command.usage
        # What the machine knows of a job that is cut short is up to a second old.
        tokens_out = max(command.tokens_out, self._shown)
        write = FinishJob(
            job_id=self.id,
            attempt=command.attempt,
            status=command.status,
            at_ms=self._now_ms(),
            final_events=rows,
            usage=self._usage_row(command, tokens_out),
            code=command.code,
            message=command.message,
            stop_reason=command.stop_reason,
            tokens_out=tokens_out,
            usage_json=usage.model_dump_json() if usage else None,
            timings_json=command.timings.model_dump_json() if command.timings else None,
            output="".join(self._text) if self._text else None,
            retain_request=self._journal.retain_prompts,
        )
        # Until its last COMMIT the job stays in reach of readers that come now.
        self._post(write, rows, then=self._leave)

    def _leave(self) -> None:
        self._journal.forget(self.id)
        self.log.release()
        if self._journal.partings is not None:
            self._journal.partings.keep(self.id, self.identity.key_id, self.log)

    # Rows

    def _token_row(self) -> EventRow | None:
        if not self._buffer:
            return None
        pieces = self._buffer
        told: dict[str, object] = {"t": "".join(pieces), "i": self._shown, "n": len(pieces)}
        if self._has_reasoned:
            # Thoughts have no rows: a restart would else take the answer for one without them.
            told["reasoned"] = True
        self._text.extend(pieces)
        self._text_bytes += self._buffer_bytes
        self._shown += len(pieces)
        self._drop_buffer()
        return self._row(EventKind.TOKEN, told)

    def _terminal_row(self, command: Finish) -> EventRow:
        if command.status is JobStatus.COMPLETED:
            told: dict[str, object] = {
                "tokens_out": command.tokens_out,
                "stop_reason": command.stop_reason,
                "usage": command.usage.model_dump() if command.usage else None,
                "timings": command.timings.model_dump() if command.timings else None,
            }
            return self._row(EventKind.END, told)
        code = command.code or Code.INTERNAL
        told = {
            "code": code,
            "message": command.message or "the job ended without an answer",
            "retriable": OUTCOMES[code].retry_later,
        }
        return self._row(EventKind.ERROR, told)

    def _usage_row(self, command: Finish, tokens_out: int) -> UsageRow:
        identity, usage = self.identity, command.usage
        return UsageRow(
            job_id=identity.id,
            key_id=identity.key_id,
            model=identity.model,
            task=identity.task,
            status=command.status,
            created_at_ms=identity.created_at_ms,
            ended_at_ms=self._now_ms(),
            prompt_tokens=usage.prompt_tokens if usage else 0,
            completion_tokens=usage.completion_tokens if usage else tokens_out,
            attempts=command.attempt,
            workers=tuple(self._workers),
        )

    def _row(self, kind: EventKind, told: object) -> EventRow:
        row = EventRow(self.id, self._next_seq, kind, orjson.dumps(told).decode())
        self._next_seq += 1
        return row

    def _post(
        self, write: Write, rows: tuple[EventRow, ...], then: Callable[[], None] | None = None
    ) -> None:
        def committed(outcome: Outcome) -> None:
            if isinstance(outcome, LlorchError):
                self._journal.on_failure(outcome)
                return
            for row in rows:
                self.log.commit(row.seq, row.kind, row.data)
            if then is not None:
                then()

        self._journal.store.post(write, committed)

    def _cut(self, keep_tokens: int) -> None:
        if keep_tokens > self._shown:
            self.flush()
        self._drop_buffer()
        if keep_tokens < len(self._text):
            del self._text[keep_tokens:]
            self._text_bytes = sum(len(piece.encode()) for piece in self._text)
        elif keep_tokens > len(self._text):
            # Nobody could follow: the next attempt finds nothing to go on behind, and says so.
            self._text, self._text_bytes = [], 0
        self._shown = len(self._text)
        self._has_reasoned = self._has_reasoned and self._shown > 0
        self._is_silent = True

    def _drop_buffer(self) -> None:
        self._buffer = []
        self._buffer_bytes = 0

    def _now_ms(self) -> int:
        return self._journal.clock.unix_ms()
