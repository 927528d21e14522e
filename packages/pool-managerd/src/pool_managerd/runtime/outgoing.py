"""What this host gives to other pools: few at a time, read by threads, never by the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol, TypeVar

from orchestrator_core.contracts.sharing import SharedModel
from orchestrator_core.errors import Code, Refusal, error_for
from orchestrator_core.units import KIB
from pool_managerd.runtime.crew import Crew, outcome_of

__all__ = ["CONTENTS_AT_ONCE", "Content", "Copy", "Outgoing", "Shared"]

T = TypeVar("T")

CONTENTS_AT_ONCE: Final = 4

_QUESTIONS_AT_ONCE: Final = 2
_QUESTIONS_WAITING_MAX: Final = 64
# The loop encrypts a piece in one go: a larger one would make others wait.
_PIECE_BYTES: Final = 256 * KIB
_BUSY_S: Final = 2


class Content(Protocol):
    """An open file of the store."""

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        ...

    def read(self, start: int, size_bytes: int) -> bytes:
        """The bytes from start on, fewer at its end; blocks."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Shared(Protocol):
    """The part of the store that others may copy. Everything blocks."""

    def models(self, text: str | None = None) -> list[SharedModel]:
        """Every whole model, or the one that a name stands for."""
        ...

    def open(self, sha256: str) -> Content | None:
        """A content that a whole model names."""
        ...


class Outgoing:
    """Answers and contents for other pools; lives on the loop."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._questions = Crew(
            "questions of other pools",
            size=_QUESTIONS_AT_ONCE,
            waiting_max=_QUESTIONS_WAITING_MAX,
        )
        self._reads = Crew("reads for other pools", size=CONTENTS_AT_ONCE, waiting_max=64)
        self._sent = 0
        self._is_stopping = False

    async def models(self, text: str | None) -> list[SharedModel] | Refusal:
        """What is shared, or the model that a name stands for."""
        return await self._ask("reading the models", lambda: self._shared.models(text))

    async def content(self, sha256: str) -> Content | Refusal | None:
        """An open content, None where no shared model names it; the caller closes it."""
        future = self._questions.start(lambda: self._shared.open(sha256))
        if isinstance(future, Refusal):
            return _busy()
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            # Whoever asked has left, and the file that is opened for nobody is closed again.
            future.add_done_callback(_close_found)
            raise

    def begin(self, content: Content) -> "Copy | Refusal":
        """Take one of the few places for a content; a refused one stays the caller's to close."""
        if self._sent >= CONTENTS_AT_ONCE or self._is_stopping:
            return _busy()
        self._sent += 1
        return Copy(content, self._read, self._end)

    def begin_stop(self) -> None:
        """Break off what is being sent: whoever copies goes on elsewhere, or here later."""
        self._is_stopping = True

    def _end(self) -> None:
        self._sent -= 1

    def _read(self, work: Callable[[], bytes]) -> asyncio.Future[bytes] | Refusal:
        if self._is_stopping:
            return Refusal(Code.DRAINING, "pool-managerd is stopping")
        return self._reads.start(work)

    async def _ask(self, what: str, work: Callable[[], T | Refusal]) -> T | Refusal:
        future = self._questions.start(work)
        if isinstance(future, Refusal):
            return _busy()
        await asyncio.wait({future})
        return outcome_of(future, what)


class Copy:
    """One content on its way to one reader."""

    def __init__(
        self,
        content: Content,
        read: Callable[[Callable[[], bytes]], asyncio.Future[bytes] | Refusal],
        on_close: Callable[[], None],
    ) -> None:
        self._content = content
        self._read = read
        self._on_close = on_close
        self._reading: asyncio.Future[bytes] | None = None

    async def pieces(self, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from start to before end; raises LlorchError where they cannot all be sent."""
        reading = self._begin_read(start, end)
        while reading is not None:
            # Whoever leaves does not stop the thread.
            piece = await asyncio.shield(reading)
            if not piece:
                raise error_for(Refusal(Code.DATA_CORRUPT, "a model's file has become shorter"))
            start += len(piece)
            # The next one is read while this one is sent.
            reading = self._begin_read(start, end)
            yield piece

    def close(self) -> None:
        """Give the place back, and close the file once no thread reads it any more."""
        self._on_close()
        if self._reading is None:
            self._content.close()
        elif self._reading.done():
            self._close_read(self._reading)
        else:
            self._reading.add_done_callback(self._close_read)

    def _begin_read(self, start: int, end: int) -> asyncio.Future[bytes] | None:
        if start >= end:
            return None
        size_bytes = min(_PIECE_BYTES, end - start)
        reading = self._read(lambda: self._content.read(start, size_bytes))
        if isinstance(reading, Refusal):
            raise error_for(reading)
        self._reading = reading
        return reading

    def _close_read(self, reading: asyncio.Future[bytes]) -> None:
        # Asked for, so that nobody hears of a fault that concerns nobody any more.
        reading.exception()
        self._content.close()


def _busy() -> Refusal:
    line = "as many pools as this host serves at a time copy from it already: come again"
    return Refusal(Code.NO_CAPACITY, line, retry_after_s=_BUSY_S)


def _close_found(future: "asyncio.Future[Content | None]") -> None:
    if not future.cancelled() and future.exception() is None:
        found = future.result()
        if found is not None:
            found.close()
