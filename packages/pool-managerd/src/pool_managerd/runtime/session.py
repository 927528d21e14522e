"""The session over a stream that the orchestrator holds open, where only SSH is open.

The desk knows the one open stream; the newest wins. The announcer asks through its link as it
would over HTTP: each message goes out as an event, and its answer comes by a call of its own.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

import structlog
from pydantic import BaseModel

from orchestrator_core.contracts.control import ErrorBody
from orchestrator_core.contracts.pool import (
    Heartbeat,
    HeartbeatReply,
    PoolRegister,
    PoolRegistered,
)
from orchestrator_core.contracts.session import SESSION_BEAT, SESSION_REGISTER, SessionAnswer
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from orchestrator_core.stream import sse

__all__ = ["SessionDesk", "SessionStream", "StreamLink"]

_COMMENT_EVERY_S: Final = 5.0

_log: Final = structlog.stdlib.get_logger()


class SessionStream:
    """One open stream: what goes out, and the one question that waits for its answer."""

    def __init__(self, number: int, ids: Iterator[int]) -> None:
        self.number = number
        self._ids = ids
        self._news = asyncio.Event()
        self._outgoing: bytes | None = None
        self._asked = 0
        self._answer: asyncio.Future[SessionAnswer] | None = None
        self._end: str | None = None

    @property
    def is_open(self) -> bool:
        """True until it is closed, by whichever side."""
        return self._end is None

    async def ask(self, kind: str, word: BaseModel) -> SessionAnswer:
        """Send one message and wait for its answer."""
        if self._end is not None:
            raise _gone(self._end)
        self._asked = number = next(self._ids)
        answer = self._answer = asyncio.get_running_loop().create_future()
        self._outgoing = sse.encode(data=word.model_dump_json(), event=kind, id=number)
        self._news.set()
        try:
            return await answer
        finally:
            # Who asks no more must not be answered, nor must a reader that comes late be told.
            if self._asked == number:
                self._answer = self._outgoing = None

    def take(self, answer: SessionAnswer) -> bool:
        """Take an answer; False when nobody waits for one with this id."""
        if self._answer is None or answer.id != self._asked or self._answer.done():
            return False
        self._answer.set_result(answer)
        return True

    async def words(self) -> AsyncIterator[bytes]:
        """Everything that goes out, until the end; a comment at least every few seconds."""
        yield sse.comment()
        while self._end is None:
            word, self._outgoing = self._outgoing, None
            if word is not None:
                yield word
                continue
            self._news.clear()
            try:
                async with asyncio.timeout(_COMMENT_EVERY_S):
                    await self._news.wait()
            except TimeoutError:
                yield sse.comment()
        yield sse.comment(self._end)

    def close(self, reason: str) -> None:
        """End it; whoever waits for an answer gets none."""
        if self._end is not None:
            return
        self._end = reason
        self._news.set()
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(_gone(reason))


class SessionDesk:
    """Where streams are opened and answers arrive; the announcer's way to whoever holds a stream."""

    def __init__(
        self, *, closed: Refusal | None = None, on_change: Callable[[], None] = lambda: None
    ) -> None:
        self._closed = closed
        self._on_change = on_change
        self._numbers = itertools.count(1)
        self._ids = itertools.count(1)
        self._stream: SessionStream | None = None
        self._opened = asyncio.Event()

    def connect(self, on_change: Callable[[], None]) -> None:
        """Learn whom to tell when a stream opens or ends."""
        self._on_change = on_change

    @property
    def refusal(self) -> Refusal | None:
        """Why no stream may be opened here at all."""
        return self._closed

    def open(self) -> SessionStream:
        """Open a stream; the one before it ends."""
        self.close("a newer stream was opened")
        self._stream = stream = SessionStream(next(self._numbers), self._ids)
        _log.info("session.opened", stream=stream.number)
        self._opened.set()
        self._on_change()
        return stream

    def leave(self, stream: SessionStream) -> None:
        """The reader of a stream has gone."""
        stream.close("the orchestrator has closed the stream")
        if self._stream is stream:
            self._forget()

    def close(self, reason: str) -> None:
        """End the open stream, if there is one."""
        if self._stream is not None:
            self._stream.close(reason)
            self._forget()

    def take(self, answer: SessionAnswer) -> Refusal | None:
        """Hand an answer to whoever waits for it."""
        if self._stream is not None and self._stream.take(answer):
            return None
        return Refusal(Code.CONFLICT, f"nobody waits for an answer to message {answer.id}")

    def find(self) -> str | None:
        """The name of the way, which is another for each stream; None while there is none."""
        return None if self._stream is None else f"ssh#{self._stream.number}"

    async def there(self) -> None:
        """Return when a stream is open."""
        await self._opened.wait()

    def link(self) -> "StreamLink":
        """The link over the stream that is open now."""
        if self._stream is None:
            raise _gone("no stream is open")
        return StreamLink(self._stream)

    def _forget(self) -> None:
        stream, self._stream = self._stream, None
        self._opened.clear()
        if stream is not None:
            _log.info("session.closed", stream=stream.number)
        self._on_change()


class StreamLink:
    """An OrchestratorLink whose words are events and whose answers are calls."""

    def __init__(self, stream: SessionStream) -> None:
        self._stream = stream

    async def register(self, register: PoolRegister) -> PoolRegistered:
        """Open a session."""
        answer = await self._stream.ask(SESSION_REGISTER, register)
        if answer.registered is None:
            raise _refused(answer)
        return answer.registered

    async def heartbeat(self, beat: Heartbeat) -> HeartbeatReply:
        """Report and learn what is wanted."""
        answer = await self._stream.ask(SESSION_BEAT, beat)
        if answer.reply is None:
            raise _refused(answer)
        return answer.reply

    async def aclose(self) -> None:
        """Nothing of ours is open: the stream belongs to whoever reads it."""


def _refused(answer: SessionAnswer) -> LlorchError:
    body = answer.error
    if body is None:
        return error_for(Refusal(Code.INTERNAL, "the answer does not belong to the message"))
    return error_for(Refusal(_code_of(body), body.message, body.details or {}))


def _code_of(body: ErrorBody) -> Code:
    try:
        return Code(body.code)
    except ValueError:
        return Code.INTERNAL


def _gone(reason: str) -> LlorchError:
    return error_for(Refusal(Code.UNREACHABLE, f"the session stream is closed: {reason}"))
