"""Answers with server-sent events about something that changes until its last word is said.

Latest wins: a slow reader misses what lay between, and never the end. Comments keep a quiet
connection open. A stream that ends without its last event was cut short by the daemon's own end.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final, TypeVar

from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.stream import sse
from pool_managerd.runtime.latest import Latest

__all__ = ["EventStreams", "event", "words_of"]

T = TypeVar("T")

_OPEN_MAX: Final = 32
_COMMENT_EVERY_S: Final = 15.0
# Ten pictures a second look smooth, and cost next to nothing.
_PAUSE_S: Final = 0.1
_HEADERS: Final = {"cache-control": "no-store", "x-accel-buffering": "no"}


class EventStreams:
    """So many streams of one kind at once."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._open = 0

    @property
    def refusal(self) -> Refusal | None:
        """Why no further stream may be opened."""
        if self._open < _OPEN_MAX:
            return None
        return Refusal(Code.RATE, f"{_OPEN_MAX} {self._what} are being followed already")

    def answer(
        self, words: AsyncIterator[bytes], *, on_close: Callable[[], None] = lambda: None
    ) -> Response:
        """Stream these words; on_close is called at the end, also when the client has left."""
        self._open += 1

        def close() -> None:
            self._open -= 1
            on_close()

        return _Stream(words, close)


class _Stream(StreamingResponse):
    """Tells of its end itself: a generator that nobody reads any more may end much later."""

    def __init__(self, words: AsyncIterator[bytes], on_close: Callable[[], None]) -> None:
        super().__init__(words, media_type="text/event-stream", headers=_HEADERS)
        self._on_close = on_close

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._on_close()


def event(kind: str, data: BaseModel) -> bytes:
    """One event with a contract model."""
    return sse.encode(event=kind, data=data.model_dump_json())


async def words_of(news: Latest[T], say: Callable[[T], bytes]) -> AsyncIterator[bytes]:
    """Everything but the last word, at most ten times a second."""
    # A client sees at once that it was let in, even while nothing happens.
    yield sse.comment()
    version = 0
    while not news.is_final:
        if not await news.after(version, timeout_s=_COMMENT_EVERY_S):
            yield sse.comment()
            continue
        if news.is_final:
            return
        version = news.version
        yield say(news.value)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PAUSE_S):
                await news.finished.wait()
