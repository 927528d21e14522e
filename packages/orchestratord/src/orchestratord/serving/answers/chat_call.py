"""One call of /v1/chat/completions while it lives: waits, streams or folds, and ends once.

It is a live job like any other to the machine; its bytes go to one client's flow and nowhere
else. What it leaves behind is a view without text and one usage row.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import JobId
from orchestrator_core.scheduler.commands import (
    Finish,
    PersistDispatched,
    PersistRequeued,
    PersistRunning,
)
from orchestratord.runtime.jobs.call_record import CallRecord
from orchestratord.runtime.jobs.kept_text import KEPT_LIMIT_BYTES, KeptText
from orchestratord.runtime.jobs.live import Piece, Valve, Wording
from orchestratord.runtime.workerbook import WorkerAddress
from orchestratord.serving.answers.outflow import OutFlow
from orchestratord.serving.dialects import openai_errors
from orchestratord.serving.dialects.chat_continued import ContinuedChat
from orchestratord.serving.dialects.chat_fold import ChatFold, Frame
from orchestratord.serving.dialects.chat_stream import ChatRewrite, keepalive_chunk
from orchestratord.store.rows import UsageRow
from orchestratord.upstream.chunks import Chunk, Shape, opened_choice, prompt_tokens
from orchestratord.upstream.loose import Json

__all__ = ["ChatCall", "ChatOptions"]

_DONE: Final = b"data: [DONE]\n\n"
_COMMENT: Final = b": waiting\n\n"


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """How the client wants its answer."""

    stream: bool
    include_usage: bool
    fingerprint: str
    keepalive_s: float
    data_keepalive_after_s: float
    data_keepalive_s: float
    load_wait_s: float
    slow_reader_s: float


class ChatCall:
    """A LiveJob whose reader is one open connection."""

    def __init__(
        self,
        *,
        record: CallRecord,
        flow: OutFlow,
        options: ChatOptions,
        word: Wording,
        now: Callable[[], float],
        forget: Callable[[JobId], None],
        account: Callable[[UsageRow], None],
    ) -> None:
        self.record = record
        self.flow = flow
        self.options = options
        self.word = word
        self.prompt_tokens: int | None = None
        self._queued_at = now()
        self._now = now
        self._forget = forget
        self._account = account
        # An answer that has only been opened can still start over; what it says cannot.
        self._opened: set[int] = set()
        self._opened_before: frozenset[int] = frozenset()
        self._shown = False
        self._data_keepalive_at = self._queued_at
        # How long the answer was when it lost its worker; until it is longer its client waits.
        self._kept_tokens = 0
        # What the answer says: the beginning that another worker would go on behind.
        self._told = bytearray()
        self._is_text_alone = True
        self._has_end = False
        # Only one of them is needed, depending on how the client wants its answer.
        self._rewrite: ChatRewrite | ContinuedChat | None = None
        self._fold: ChatFold | None = None
        self._timings: Json | None = None
        self._usage: Json = {}

    @property
    def id(self) -> JobId:
        """The job's id, also shown as X-Job-Id."""
        return self.record.id

    @property
    def restartable(self) -> bool:
        """A stream that has shown text cannot start over in this dialect."""
        return not (self.options.stream and self._shown)

    def kept(self, worker: WorkerAddress) -> KeptText | None:
        """What another attempt can go on behind; None when it would have to start over."""
        if not self._is_text_alone or self.word.obstacles(worker):
            return None
        if len(self._told) > KEPT_LIMIT_BYTES:
            return None
        return KeptText(self._told.decode(), self.record.tokens)

    def deliver(self, pieces: Sequence[Piece], valve: Valve) -> None:
        """Stream on or fold what one read brought."""
        record, told = self.record, self._told
        for piece in pieces:
            chunk = piece.chunk
            if chunk.shape is None:
                self._note(chunk)
            else:
                # Known to bring one token's text and nothing else.
                record.tokens += 1
                told += chunk.middle
        if self.options.stream:
            news = pieces if self._shown else self._unseen(pieces)
            data = self._view().rewrite(news)
            if data:
                self.flow.push(data, self._now(), valve)
            return
        fold = self._fold = self._fold or ChatFold()
        for piece in pieces:
            chunk = piece.chunk
            if chunk.shape is None:
                fold.add(chunk.body)
            else:
                fold.add_text(chunk.shape.index, chunk.text)

    def _unseen(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Leave out the opening that an attempt before has shown already."""
        news: list[Piece] = []
        for piece in pieces:
            opened = opened_choice(piece.chunk)
            if opened is None:
                self._shown = self._shown or not piece.chunk.is_progress
            elif opened in self._opened_before:
                continue
            else:
                self._opened.add(opened)
            news.append(piece)
        return news

    def _note(self, chunk: Chunk) -> None:
        if chunk.text:
            self.record.tokens += 1
            self._told += chunk.text.encode()
        elif chunk.is_progress and self.prompt_tokens is None:
            self.prompt_tokens = prompt_tokens(chunk)
        if chunk.is_reasoning:
            self._is_text_alone = False
        if chunk.finish_reason:
            self._has_end = True
        if chunk.usage is not None:
            self._usage = chunk.usage
        if chunk.timings is not None:
            self._timings = chunk.timings

    def deliver_token(self, shape: Shape, text: bytes, now: float, valve: Valve) -> None:
        """Stream on or fold one token."""
        self.record.tokens += 1
        self._told += text
        if self.options.stream:
            self._shown = True
            self.flow.push(self._view().token(shape, text), now, valve)
        else:
            self._fold = self._fold or ChatFold()
            self._fold.add_text(shape.index, text.decode())

    def on_dispatched(self, command: PersistDispatched) -> None:
        """Note which worker has it."""
        self.record.dispatched(command)

    def on_running(self, command: PersistRunning) -> None:
        """Note that the worker took it."""
        self.record.running(command)

    def on_requeued(self, command: PersistRequeued) -> None:
        """Wait for the next attempt: it goes on behind what is kept, or starts over unseen."""
        has_all = command.keep_tokens == self.record.tokens
        self.record.requeued(command)
        self._queued_at = self._now()
        self._kept_tokens = command.keep_tokens
        if command.keep_tokens and has_all:
            self._go_on()
        elif command.keep_tokens == 0 and self.restartable:
            self._rewrite = self._fold = None
            self._told.clear()
            self._opened_before = frozenset(self._opened)
            self._is_text_alone, self._has_end = True, False
            self._usage, self._timings = {}, None
        else:
            # What the client holds can neither be taken back nor continued.
            self._is_text_alone = False
            self._refuse(Refusal(command.reason, command.message))

    def on_finish(self, command: Finish) -> None:
        """Give the client its end."""
        self.record.finished(command)
        self._forget(self.id)
        self._account(self.record.usage(command))
        if command.status is not JobStatus.COMPLETED:
            self._refuse(_refusal(command))
        elif self.options.stream:
            self.flow.finish(self._missing_end(command) + _DONE, self._now())
        else:
            self.flow.finish(orjson.dumps(self._completion(command)), self._now())

    def tick(self, now: float) -> None:
        """Keep a silent stream alive; called once a second."""
        if len(self._told) > KEPT_LIMIT_BYTES:
            self._is_text_alone = False
            self._told.clear()
        if not self.flow.head_sent or self.flow.ended:
            return
        waited_s = now - self._queued_at
        kept = self._kept_tokens
        waits = not self._shown or (kept > 0 and self.record.tokens == kept)
        # Comments and data have clocks of their own: a comment must not put the data off.
        if (
            waits
            and waited_s >= self.options.data_keepalive_after_s
            and now - self._data_keepalive_at >= self.options.data_keepalive_s
        ):
            self._data_keepalive_at = now
            self.flow.push(self._empty_chunk(), now)
        elif now - self.flow.touched_at >= self.options.keepalive_s:
            self.flow.push(_COMMENT, now)

    def overdue(self, now: float) -> Refusal | None:
        """Why the call should be given up now, if it should."""
        if self.flow.stuck_s(now) > self.options.slow_reader_s:
            return Refusal(Code.TIMEOUT, "the client stopped reading")
        waits = self.record.status is JobStatus.QUEUED and not self.options.stream
        if waits and now - self._queued_at > self.options.load_wait_s:
            return Refusal(
                Code.LOADING,
                f"no worker was ready within {self.options.load_wait_s:.0f} s: try again, "
                "or ask for a stream, which may wait longer",
                retry_after_s=10,
            )
        return None

    def give_up(self, refusal: Refusal) -> None:
        """End the client's side; the machine learns of it as a cancel."""
        self._refuse(refusal)

    def _refuse(self, refusal: Refusal) -> None:
        if self.options.stream and not self.flow.ended:
            self.flow.refuse(refusal, openai_errors.error_frame(refusal), self._now())
        else:
            self.flow.end(refusal)

    def _completion(self, command: Finish) -> Mapping[str, object]:
        fold = self._fold or ChatFold()
        if not self._has_end:
            fold.end(command.stop_reason or "stop")
        return fold.result(self._frame(), self._whole_usage(command), self._timings)

    def _missing_end(self, command: Finish) -> bytes:
        """What the last worker owed the client of its answer's end."""
        usage, wants_usage = self._whole_usage(command), self.options.include_usage
        needs_usage = usage is not None and wants_usage and not self._usage
        if self._has_end and not needs_usage:
            return b""
        view = self._continued()
        end = b"" if self._has_end else view.end(command.stop_reason or "stop")
        return end + (view.usage(usage, self._timings) if usage and needs_usage else b"")

    def _whole_usage(self, command: Finish) -> Json | None:
        return self._usage or (command.usage.model_dump() if command.usage else None)

    def _view(self) -> ChatRewrite | ContinuedChat:
        if self._rewrite is None:
            self._rewrite = ChatRewrite(
                call_id=self._call_id(),
                model=self.record.model,
                fingerprint=self.options.fingerprint,
                include_usage=self.options.include_usage,
            )
        return self._rewrite

    def _go_on(self) -> None:
        if self.options.stream:
            self._rewrite = self._continued()

    def _continued(self) -> ContinuedChat:
        view, frame = self._rewrite, self._frame()
        if isinstance(view, ContinuedChat):
            return view
        return ContinuedChat(
            call_id=frame.call_id,
            model=frame.model,
            fingerprint=frame.fingerprint,
            created=(view.created if view else 0) or frame.created,
            include_usage=self.options.include_usage,
        )

    def _frame(self) -> Frame:
        return Frame(
            call_id=self._call_id(),
            model=self.record.model,
            created=self.record.created_at_ms // 1000,
            fingerprint=self.options.fingerprint,
        )

    def _empty_chunk(self) -> bytes:
        return keepalive_chunk(
            call_id=self._call_id(),
            model=self.record.model,
            created=self.record.created_at_ms // 1000,
        )

    def _call_id(self) -> str:
        return "chatcmpl-" + self.record.id.partition("_")[2]


def _refusal(command: Finish) -> Refusal:
    code = command.code or Code.INTERNAL
    return Refusal(code, command.message or "the job ended without an answer")
