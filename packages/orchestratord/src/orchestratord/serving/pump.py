"""One attempt's socket: reads a worker's stream, hands it to the job and reports facts.

The pump never retries an attempt and never chooses a worker; it ends in exactly one fact. A
connection that dies before its first byte is tried once more, since no work has been done on it.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from orchestrator_core.contracts.tasks import Timings, Usage
from orchestrator_core.errors import Code, DataError
from orchestrator_core.scheduler.events import (
    AttemptAccepted,
    AttemptBroken,
    AttemptEnded,
    AttemptProgress,
    Event,
    FirstToken,
)
from orchestrator_core.stream.frames import FrameSplitter, payload
from orchestrator_core.units import KIB, MIB
from orchestratord.runtime.live import LiveJob, Piece
from orchestratord.runtime.workerbook import WorkerAddress
from orchestratord.serving.engine_faults import refused_by_engine
from orchestratord.upstream.chunks import DONE, Chunk, EngineError, read_chunk
from orchestratord.upstream.exchange import Exchange, Fault, FaultKind, open_exchange
from orchestratord.upstream.loose import Json, as_amount, as_count
from orchestratord.upstream.request import build_request, host_header
from orchestratord.upstream.shapes import ShapeReader

__all__ = ["Pump"]

_FRAME_LIMIT_BYTES: Final = 4 * MIB
_ERROR_LIMIT_BYTES: Final = 64 * KIB


class Pump:
    """Carries one attempt of one job."""

    def __init__(
        self,
        *,
        job: LiveJob,
        attempt: int,
        worker: WorkerAddress,
        post: Callable[[Event], None],
        now: Callable[[], float],
        connect_timeout_s: float,
    ) -> None:
        self.attempt = attempt
        self.tokens = 0
        self.moved_at = now()
        self.closed = False
        self._job = job
        self._worker = worker
        self._post = post
        self._now = now
        self._connect_timeout_s = connect_timeout_s
        self._exchange: Exchange | None = None
        self._finished: asyncio.Future[Fault | None] | None = None
        self._splitter = FrameSplitter(_FRAME_LIMIT_BYTES)
        self._shapes = ShapeReader()
        self._status = 0
        self._error_body = bytearray()
        self._engine_error: EngineError | None = None
        self._saw_end = False
        self._stop_reason = ""
        self._usage: Json = {}
        self._timings: Json = {}
        self._reported_tokens = 0

    # Running

    async def run(self) -> None:
        """Carry the attempt to its end."""
        request = self._worded()
        fault = await self._exchange_once(request)
        if fault is not None and fault.kind in _UNSEEN and not (fault.begun or self.closed):
            fault = await self._exchange_once(request)
        if not self.closed:
            self._report(fault)

    def _worded(self) -> bytes:
        # Apart, so that the body is not kept twice for as long as the answer takes.
        wanted = self._job.engine_request(self._worker)
        return build_request(
            "POST",
            wanted.target,
            host=host_header((self._worker.host, self._worker.port)),
            body=wanted.body,
            bearer=self._worker.key,
            accept="text/event-stream",
            correlation_id=self._job.id.replace("_", "-"),
        )

    async def _exchange_once(self, request: bytes) -> Fault | None:
        # The sweeper judges the open connection; that of an earlier try is none of its business.
        self._exchange = None
        self._finished = asyncio.get_running_loop().create_future()
        address, external = (self._worker.host, self._worker.port), self._worker.external
        found = await open_exchange(
            address,
            request,
            self,
            connect_timeout_s=self._connect_timeout_s,
            tls=external is not None and external.tls,
        )
        if isinstance(found, Fault):
            return found
        self._exchange = found
        if self.closed:
            found.abort()
            return None
        return await self._finished

    def close(self) -> None:
        """Close the socket at once: this is how an engine learns of a cancel."""
        self.closed = True
        if self._exchange is not None:
            self._exchange.abort()
        self._settle(None)

    def check(self, *, loop_time: float, silence_s: float, stall_s: float) -> None:
        """Look once a second for silence and for a standstill; report progress."""
        if self.closed or self._exchange is None or self._exchange.paused:
            return
        external = self._worker.external
        if external is not None and self.tokens == 0:
            # It may load the model first, and does not say that it does.
            stall_s = max(stall_s, external.cold_s)
        # An engine that is not ours was not asked to send pings: its silence says nothing.
        if external is None and loop_time - self._exchange.last_byte_at > silence_s:
            self._give_up(f"no byte from the worker for {silence_s:.0f} s")
        elif self._now() - self.moved_at > stall_s:
            self._give_up(f"no token from the worker for {stall_s:.0f} s")
        elif self.tokens != self._reported_tokens:
            self._reported_tokens = self.tokens
            self._post(
                AttemptProgress(
                    at=self._now(), job_id=self._job.id, attempt=self.attempt, tokens=self.tokens
                )
            )

    def _give_up(self, message: str) -> None:
        self._hang_up(Fault(FaultKind.TIMEOUT, message))

    def _hang_up(self, fault: Fault | None) -> None:
        if self._exchange is not None:
            self._exchange.abort()
        self._settle(fault)

    # The valve

    def pause(self) -> None:
        """Hold the worker back: the reader is slower than the engine."""
        if self._exchange is not None:
            self._exchange.pause()

    def resume(self) -> None:
        """Go on reading."""
        if self._exchange is not None:
            self.moved_at = self._now()
            self._exchange.resume()

    # What the socket brings

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:  # noqa: ARG002 - the port's.
        """The worker answered."""
        self._status = status
        self.moved_at = self._now()
        if status == 200:
            self._post(AttemptAccepted(at=self._now(), job_id=self._job.id, attempt=self.attempt))

    def data(self, body: bytes) -> None:
        """Some of the answer; whole events go on to the job."""
        if self.closed:
            return
        if self._splitter.clean:
            # The usual read by far: one event that is a token like the one before.
            shapes = self._shapes
            text = shapes.text_of(body)
            if text is not None and shapes.shape is not None:
                self.tokens += 1
                now = self.moved_at = self._now()
                self._job.deliver_token(shapes.shape, text, now, self)
                return
        self._take(body)

    def _take(self, body: bytes) -> None:
        if self._status != 200:
            room = _ERROR_LIMIT_BYTES - len(self._error_body)
            self._error_body += body[:room]
            return
        pieces: list[Piece] = []
        for frame in self._split(body):
            chunk = self._shapes.read(frame)
            if chunk is not None:
                self.tokens += 1
            else:
                chunk = self._read(frame)
            if chunk is not None:
                pieces.append(Piece(frame, chunk))
            elif self._engine_error is not None:
                break
        if pieces:
            self.moved_at = self._now()
            self._job.deliver(pieces, self)
        if self._engine_error is not None:
            # Nothing good follows, and an engine that does not close would hold the slot.
            self._hang_up(None)

    def _split(self, body: bytes) -> list[bytes]:
        try:
            return self._splitter.feed(body)
        except DataError as problem:
            self._give_up(problem.refusal.message)
            return []

    def ended(self) -> None:
        """The worker closed the answer properly."""
        self._settle(None)

    def broken(self, fault: Fault) -> None:
        """The socket died or spoke nonsense."""
        self._settle(fault)

    def _settle(self, fault: Fault | None) -> None:
        if self._finished is not None and not self._finished.done():
            self._finished.set_result(fault)

    def _read(self, frame: bytes) -> Chunk | None:
        data = payload(frame)
        if data is None:
            return None
        if data == DONE:
            self._saw_end = True
            return None
        chunk = read_chunk(data)
        if chunk is None:
            self._engine_error = EngineError("the worker sent an event that is no JSON", "", 500)
            return None
        if chunk.error is not None:
            self._engine_error = chunk.error
            return None
        self._shapes.learn(frame, chunk)
        self._note(chunk)
        return chunk

    def _note(self, chunk: Chunk) -> None:
        if chunk.text:
            self.tokens += 1
            if self.tokens == 1:
                self._post(FirstToken(at=self._now(), job_id=self._job.id, attempt=self.attempt))
        if chunk.finish_reason:
            self._stop_reason = chunk.finish_reason
        if chunk.usage is not None:
            self._usage = chunk.usage
            # Some engines repeat what was used so far with every token: that is not the end.
            self._saw_end = self._saw_end or not chunk.has_choices or bool(self._stop_reason)
        if chunk.timings is not None:
            self._timings = chunk.timings

    # The one closing fact

    def _report(self, fault: Fault | None) -> None:
        error = self._engine_error
        if self._status not in (0, 200):
            error = EngineError("", "", self._status)
        if error is not None:
            refusal, retriable = refused_by_engine(error, bytes(self._error_body))
            self._post_broken(refusal.code, refusal.message, retriable=retriable)
        elif self._saw_end or (fault is None and self._stop_reason):
            self._post_ended()
        else:
            message = fault.message if fault else "the worker closed the stream before its end"
            self._post_broken(Code.WORKER_LOST, message, retriable=True)

    def _post_broken(self, reason: Code, message: str, *, retriable: bool) -> None:
        self._post(
            AttemptBroken(
                at=self._now(),
                job_id=self._job.id,
                attempt=self.attempt,
                reason=reason,
                message=message,
                retriable=retriable and self._job.restartable,
                tokens_kept=self.tokens,
            )
        )

    def _post_ended(self) -> None:
        self._post(
            AttemptEnded(
                at=self._now(),
                job_id=self._job.id,
                attempt=self.attempt,
                stop_reason=self._stop_reason or "stop",
                tokens_out=self.tokens,
                usage=_usage(self._usage) if self._usage else None,
                timings=_timings(self._timings) if self._timings else None,
            )
        )


_UNSEEN: Final = frozenset({FaultKind.EOF, FaultKind.RESET})


def _usage(found: Json) -> Usage:
    return Usage(
        prompt_tokens=as_count(found.get("prompt_tokens")),
        completion_tokens=as_count(found.get("completion_tokens")),
        total_tokens=as_count(found.get("total_tokens")),
    )


def _timings(found: Json) -> Timings:
    return Timings(
        prompt_ms=as_amount(found.get("prompt_ms")),
        predicted_ms=as_amount(found.get("predicted_ms")),
    )
