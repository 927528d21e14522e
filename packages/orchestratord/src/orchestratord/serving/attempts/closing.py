"""What a worker says about the end of an attempt, and what that makes of the attempt.

The pump hands in events and faults as they come; at the end there is one verdict. Pure.
"""

from typing import Final, NamedTuple

from orchestrator_core.contracts.tasks import Timings, Usage
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.stream.frames import payload
from orchestrator_core.units import KIB
from orchestratord.serving.attempts.continuation import whole_usage
from orchestratord.serving.attempts.engine_faults import refused_by_engine
from orchestratord.upstream.chunks import DONE, Chunk, EngineError, read_chunk
from orchestratord.upstream.exchange import Fault, FaultKind
from orchestratord.upstream.loose import Json, as_amount, as_count

__all__ = ["Break", "Closing"]

_ERROR_LIMIT_BYTES: Final = 64 * KIB
_OURS: Final = frozenset({FaultKind.TIMEOUT, FaultKind.PROTOCOL, FaultKind.ABORTED, FaultKind.LOST})
_ON_THE_WAY: Final = frozenset({FaultKind.ROAD, FaultKind.LOST})


class Break(NamedTuple):
    """Why an attempt came to nothing; computing: its worker may still be at work on it."""

    refusal: Refusal
    retriable: bool
    computing: bool = False


class Closing:
    """The end of one attempt, as far as it has been told."""

    __slots__ = (
        "_broken", "_cut", "_error", "_error_body", "_goes_on", "_kept_tokens", "_made_tokens",
        "_saw_end", "_timings", "_usage", "status", "stop_reason",
    )  # fmt: skip

    def __init__(self) -> None:
        self.status = 0
        self.stop_reason = ""
        # An attempt that goes on tells of its part alone: its usage has to be added up.
        self._goes_on = False
        self._kept_tokens = 0
        self._made_tokens = 0
        self._broken: Break | None = None
        self._error: EngineError | None = None
        self._error_body = bytearray()
        # True once we stopped listening to a worker that had not ended by itself.
        self._cut = False
        self._saw_end = False
        self._usage: Json = {}
        self._timings: Json = {}

    @property
    def has_failed(self) -> bool:
        """True once the engine has said that nothing good follows, or nothing that can be read."""
        return self._error is not None

    def give_up(self, broken: Break) -> None:
        """Take the reason why the worker was not even asked."""
        self._broken = broken

    def go_on(self, kept_tokens: int, made_tokens: int) -> None:
        """Count in what is kept: tokens of the prompt now, made by so many before."""
        self._goes_on = True
        self._kept_tokens, self._made_tokens = kept_tokens, made_tokens

    def take_error(self, body: bytes) -> None:
        """Take some of the body of a refusal."""
        self._error_body += body[: _ERROR_LIMIT_BYTES - len(self._error_body)]

    def read(self, frame: bytes) -> Chunk | None:
        """Read an event with care; None when it brings nothing for the client."""
        data = payload(frame)
        if data is None:
            return None
        if data == DONE:
            self._saw_end = True
            return None
        chunk = read_chunk(data)
        if chunk is None:
            self._error = EngineError("the worker sent an event that is no JSON", "", 500)
            self._cut = True
            return None
        if chunk.error is not None:
            self._error = chunk.error
            return None
        self._note(chunk)
        return chunk

    def verdict(self, fault: Fault | None, *, ends_with_its_reason: bool) -> Break | None:
        """Judge the whole attempt; None means that its answer is complete.

        Behind the word that ends an only choice nothing is missing but a summary.
        """
        error = self._error
        if self.status not in (0, 200):
            error = EngineError("", "", self.status)
        if self._broken is not None:
            return self._broken
        if error is not None:
            refusal, retriable = refused_by_engine(error, bytes(self._error_body))
            if self._goes_on and refusal.code is Code.CONTEXT_EXCEEDED:
                # Its own part is longer than this worker has room for; the first one had more.
                return Break(Refusal(Code.UNREACHABLE, refusal.message), retriable=True)
            return Break(refusal, retriable, self._cut)
        if self._saw_end or (self.stop_reason and (fault is None or ends_with_its_reason)):
            return None
        message = fault.message if fault else "the worker closed the stream before its end"
        # A worker whose own socket died has let go of the attempt; any other cut was ours.
        computing = fault is not None and fault.kind in _OURS
        # What breaks on the way has not cost a worker's life, and must not make a job a poison.
        on_the_way = fault is not None and fault.kind in _ON_THE_WAY
        code = Code.UNREACHABLE if on_the_way else Code.WORKER_LOST
        return Break(Refusal(code, message), retriable=True, computing=computing)

    def usage(self, prompt_tokens: int | None, seen_tokens: int) -> Usage | None:
        """The tokens of the whole answer; counted here where the engine did not come to it."""
        found = self._usage
        if not found:
            if prompt_tokens is None:
                return None
            made = self._made_tokens + seen_tokens
            found = whole_usage({"prompt_tokens": prompt_tokens}, 0, made)
        return Usage(
            prompt_tokens=as_count(found.get("prompt_tokens")),
            completion_tokens=as_count(found.get("completion_tokens")),
            total_tokens=as_count(found.get("total_tokens")),
        )

    def timings(self) -> Timings | None:
        """What the engine measured."""
        if not self._timings:
            return None
        return Timings(
            prompt_ms=as_amount(self._timings.get("prompt_ms")),
            predicted_ms=as_amount(self._timings.get("predicted_ms")),
        )

    def _note(self, chunk: Chunk) -> None:
        if chunk.finish_reason:
            self.stop_reason = chunk.finish_reason
        if chunk.usage is not None:
            if self._goes_on:
                chunk.usage = whole_usage(chunk.usage, self._kept_tokens, self._made_tokens)
            self._usage = chunk.usage
            # Some engines repeat what was used so far with every token: that is not the end.
            self._saw_end = self._saw_end or not chunk.has_choices or bool(self.stop_reason)
        if chunk.timings is not None:
            self._timings = chunk.timings
