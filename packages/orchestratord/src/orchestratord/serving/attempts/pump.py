"""One attempt's socket: reads a worker's stream, hands it to the job and reports facts.

The pump never retries an attempt and never chooses a worker; it ends in exactly one fact. A
connection that dies before its first byte is tried once more, since no work has been done on it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Generator, Mapping
from typing import Final

from orchestrator_core.errors import Code, DataError, Refusal
from orchestrator_core.scheduler.events import (
    AttemptAccepted,
    AttemptBroken,
    AttemptEnded,
    AttemptProgress,
    Event,
    FirstToken,
)
from orchestrator_core.stream.frames import FrameSplitter
from orchestrator_core.units import MIB
from orchestratord.runtime.jobs.live import EngineRequest, LiveJob, Piece
from orchestratord.runtime.workerbook import WorkerAddress
from orchestratord.serving.attempts.closing import Break, Closing
from orchestratord.serving.attempts.resumption import Hindrance, Rest, Spent, word_rest
from orchestratord.upstream.chunks import Chunk
from orchestratord.upstream.exchange import Exchange, Fault, FaultKind, open_exchange
from orchestratord.upstream.request import build_request, host_header
from orchestratord.upstream.shapes import ShapeReader

__all__ = ["Pump"]

_FRAME_LIMIT_BYTES: Final = 4 * MIB
_UNSEEN: Final = frozenset({FaultKind.EOF, FaultKind.RESET})


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
        keep_tokens: int = 0,
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
        # What earlier attempts have made; everything that is reported counts it in.
        self._keep_tokens = keep_tokens
        # Who waits for a connection or a small answer, which nothing but a cancel can end.
        self._waiting: asyncio.Task[object] | None = None
        self._exchange: Exchange | None = None
        self._finished: asyncio.Future[Fault | None] | None = None
        self._splitter = FrameSplitter(_FRAME_LIMIT_BYTES)
        self._shapes = ShapeReader()
        self._closing = Closing()
        self._reported_tokens = 0

    # Running

    async def run(self) -> None:
        """Carry the attempt to its end."""
        try:
            fault = await self._carry()
        except asyncio.CancelledError:
            if self.closed:
                # It was our own close() that ended the wait for the worker.
                return
            raise
        if not self.closed:
            self._report(fault)

    async def _carry(self) -> Fault | None:
        wanted = await self._wanted()
        if wanted is None or self.closed:
            return None
        request = self._request(wanted)
        del wanted
        fault = await self._exchange_once(request)
        if fault is not None and fault.kind in _UNSEEN and not (fault.begun or self.closed):
            fault = await self._exchange_once(request)
        return fault

    async def _wanted(self) -> EngineRequest | None:
        """The attempt's request; None when there is nothing to ask for or no way to ask."""
        if not self._keep_tokens:
            return self._job.word(self._worker)
        kept = self._job.kept(self._worker)
        if kept is None or kept.tokens != self._keep_tokens:
            message = "the answer cannot go on behind what its reader holds"
            self._closing.give_up(Break(Refusal(Code.WORKER_LOST, message), retriable=False))
            return None
        with self._interruptible():
            found = await word_rest(self._job.word, kept, self._worker, self._correlation_id)
        match found:
            case Rest(request, kept_tokens, made_tokens):
                self._closing.go_on(kept_tokens, made_tokens)
                return request
            case Hindrance(refusal):
                self._closing.give_up(Break(refusal, retriable=True))
            case Spent():
                self._closing.go_on(kept.tokens, kept.tokens)
                self._closing.stop_reason = "length"
        return None

    def _request(self, wanted: EngineRequest) -> bytes:
        return build_request(
            "POST",
            wanted.target,
            host=host_header((self._worker.host, self._worker.port)),
            body=wanted.body,
            bearer=self._worker.key,
            accept="text/event-stream",
            correlation_id=self._correlation_id,
        )

    @property
    def _correlation_id(self) -> str:
        return self._job.id.replace("_", "-")

    async def _exchange_once(self, request: bytes) -> Fault | None:
        # The sweeper judges the open connection; that of an earlier try is none of its business.
        self._exchange = None
        self._finished = asyncio.get_running_loop().create_future()
        address, external = (self._worker.host, self._worker.port), self._worker.external
        with self._interruptible():
            found = await open_exchange(
                address,
                request,
                self,
                connect_timeout_s=self._connect_timeout_s,
                tls=external is not None and external.tls,
                road=self._worker.road,
            )
        if isinstance(found, Fault):
            return found
        self._exchange = found
        if self.closed:
            found.abort()
            return None
        return await self._finished

    @contextlib.contextmanager
    def _interruptible(self) -> Generator[None]:
        self._waiting = asyncio.current_task()
        try:
            yield
        finally:
            self._waiting = None

    def close(self) -> None:
        """Close the socket at once: this is how an engine learns of a cancel."""
        self.closed = True
        if self._waiting is not None:
            self._waiting.cancel()
        if self._exchange is not None:
            self._exchange.abort()
        self._settle(None)

    def check(self, *, loop_time: float, silence_s: float, stall_s: float) -> None:
        """Look once a second for silence and for a standstill."""
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

    def listen_anew(self, loop_time: float) -> None:
        """Count silence and standstill from now on: nobody could hear anything before."""
        self.moved_at = self._now()
        if self._exchange is not None:
            self._exchange.last_byte_at = loop_time

    def tell_progress(self) -> None:
        """Report how far the answer is, if it has grown."""
        if not self.closed and self.tokens != self._reported_tokens:
            self._reported_tokens = self.tokens
            self._post(
                AttemptProgress(
                    at=self._now(),
                    job_id=self._job.id,
                    attempt=self.attempt,
                    tokens=self._all_tokens,
                )
            )

    @property
    def _all_tokens(self) -> int:
        return self._keep_tokens + self.tokens

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
        self._closing.status = status
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
        closing = self._closing
        if closing.status != 200:
            closing.take_error(body)
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
            elif closing.has_failed:
                break
        if pieces:
            self.moved_at = self._now()
            self._job.deliver(pieces, self)
        if closing.has_failed:
            # Nothing good follows, and an engine that does not close would hold the slot.
            self._hang_up(None)

    def _split(self, body: bytes) -> list[bytes]:
        try:
            return self._splitter.feed(body)
        except DataError as problem:
            self._hang_up(Fault(FaultKind.PROTOCOL, problem.refusal.message))
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
        chunk = self._closing.read(frame)
        if chunk is not None and chunk.text:
            self._shapes.learn(frame, chunk)
            self.tokens += 1
            if self.tokens == 1:
                self._post(FirstToken(at=self._now(), job_id=self._job.id, attempt=self.attempt))
        return chunk

    # The one closing fact

    def _report(self, fault: Fault | None) -> None:
        has_one = self._job.word.has_one_choice
        found = self._closing.verdict(fault, ends_with_its_reason=has_one)
        if found is None:
            self._post_ended()
        else:
            self._post_broken(found)

    def _post_broken(self, found: Break) -> None:
        job, tokens = self._job, self._all_tokens
        kept = job.kept(self._worker) if found.retriable and tokens else None
        # What the job holds and what was counted here can only differ by a fault of ours.
        resumable = kept is not None and kept.tokens == tokens
        self._post(
            AttemptBroken(
                at=self._now(),
                job_id=job.id,
                attempt=self.attempt,
                reason=found.refusal.code,
                message=found.refusal.message,
                retriable=found.retriable and (resumable or job.restartable),
                tokens_kept=tokens,
                resumable=resumable,
                computing=found.computing,
            )
        )

    def _post_ended(self) -> None:
        closing = self._closing
        self._post(
            AttemptEnded(
                at=self._now(),
                job_id=self._job.id,
                attempt=self.attempt,
                stop_reason=closing.stop_reason or "stop",
                tokens_out=self._all_tokens,
                usage=closing.usage(self._job.prompt_tokens, self.tokens),
                timings=closing.timings(),
            )
        )
