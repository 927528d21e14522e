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
from orchestratord.runtime.call_record import CallRecord
from orchestratord.runtime.live import EngineRequest, Piece, Valve
from orchestratord.runtime.workerbook import WorkerAddress
from orchestratord.serving.dialects import openai_errors
from orchestratord.serving.dialects.chat_fold import ChatFold, Frame
from orchestratord.serving.dialects.chat_stream import ChatRewrite, keepalive_chunk
from orchestratord.serving.outflow import OutFlow
from orchestratord.store.rows import UsageRow
from orchestratord.upstream.chunks import Shape
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
        word: Callable[[WorkerAddress], EngineRequest],
        now: Callable[[], float],
        forget: Callable[[JobId], None],
        account: Callable[[UsageRow], None],
    ) -> None:
        self.record = record
        self.flow = flow
        self.options = options
        self.began_at = now()
        self._queued_at = self.began_at
        self._word = word
        self._now = now
        self._forget = forget
        self._account = account
        self._shown = False
        self._data_keepalive_at = self.began_at
        # Only one of them is needed, depending on how the client wants its answer.
        self._rewrite: ChatRewrite | None = None
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

    def engine_request(self, worker: WorkerAddress) -> EngineRequest:
        """Word the request for this worker."""
        return self._word(worker)

    def deliver(self, pieces: Sequence[Piece], valve: Valve) -> None:
        """Stream on or fold what one read brought."""
        for piece in pieces:
            chunk = piece.chunk
            if chunk.text:
                self.record.tokens += 1
            if chunk.usage is not None:
                self._usage = chunk.usage
            if chunk.timings is not None:
                self._timings = chunk.timings
        if self.options.stream:
            data = self._view().rewrite(pieces)
            if data:
                self._shown = True
                self.flow.push(data, self._now(), valve)
            return
        fold = self._fold = self._fold or ChatFold()
        for piece in pieces:
            chunk = piece.chunk
            if chunk.shape is None:
                fold.add(chunk.body)
            else:
                fold.add_text(chunk.shape.index, chunk.text)

    def deliver_token(self, shape: Shape, text: bytes, now: float, valve: Valve) -> None:
        """Stream on or fold one token."""
        self.record.tokens += 1
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
        """Start over unseen: nothing of the old attempt was shown."""
        self.record.requeued(command)
        self._queued_at = self._now()
        self._rewrite = self._fold = None

    def on_finish(self, command: Finish) -> None:
        """Give the client its end."""
        self.record.finished(command)
        self._forget(self.id)
        self._account(self.record.usage(command))
        if command.status is not JobStatus.COMPLETED:
            self._refuse(_refusal(command))
        elif self.options.stream:
            self.flow.finish(_DONE, self._now())
        else:
            self.flow.finish(orjson.dumps(self._completion()), self._now())

    def tick(self, now: float) -> None:
        """Keep a silent stream alive; called once a second."""
        if not self.flow.head_sent or self.flow.ended:
            return
        waited_s = now - self.began_at
        # Comments and data have clocks of their own: a comment must not put the data off.
        if (
            not self._shown
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

    def _completion(self) -> Mapping[str, object]:
        frame = Frame(
            call_id=self._call_id(),
            model=self.record.model,
            created=self.record.created_at_ms // 1000,
            fingerprint=self.options.fingerprint,
        )
        return (self._fold or ChatFold()).result(frame, self._usage or None, self._timings)

    def _view(self) -> ChatRewrite:
        if self._rewrite is None:
            self._rewrite = ChatRewrite(
                call_id=self._call_id(),
                model=self.record.model,
                fingerprint=self.options.fingerprint,
                include_usage=self.options.include_usage,
            )
        return self._rewrite

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
