"""Encodes and decodes server-sent events by the rules of the WHATWG standard.

Bytes come from whoever reads a stream, in pieces of any size; events go to clients and tests.
Relayed streams are never decoded here: frames.py cuts them into whole events as raw bytes.
"""

import re
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code, DataError, Refusal
from orchestrator_core.units import MIB

__all__ = ["SseDecoder", "SseEvent", "comment", "encode"]

_BOM: Final = b"\xef\xbb\xbf"
_LINE_END: Final = re.compile(rb"\r\n?|\n")
_TEXT_LINE_END: Final = re.compile(r"\r\n?|\n")
_CR: Final = 0x0D


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One dispatched event; the id is the last one the stream named, None before the first."""

    event: str
    data: str
    id: str | None = None


def encode(*, data: str, event: str | None = None, id: int | None = None) -> bytes:  # noqa: A002
    """Write one event; line ends inside the data arrive as LF at the other side."""
    lines: list[str] = []
    if id is not None:
        lines.append(f"id: {id}\n")
    if event is not None:
        if "\n" in event or "\r" in event:
            raise ValueError("an event name is one line")
        lines.append(f"event: {event}\n")
    if "\n" in data or "\r" in data:
        lines += [f"data: {line}\n" for line in _TEXT_LINE_END.split(data)]
    else:
        lines.append(f"data: {data}\n")
    lines.append("\n")
    return "".join(lines).encode()


def comment(text: str = "") -> bytes:
    """Write a comment, which every client skips; it keeps an idle connection open."""
    if not text:
        return b":\n\n"
    lines = _TEXT_LINE_END.split(text)
    return ("".join(f": {line}\n" for line in lines) + "\n").encode()


class SseDecoder:
    """Turns the pieces of one stream into events; a piece may end anywhere."""

    __slots__ = (
        "_after_cr",
        "_data",
        "_data_bytes",
        "_event",
        "_last_id",
        "_limit_bytes",
        "_line",
        "_started",
    )

    def __init__(self, limit_bytes: int = MIB) -> None:
        self._limit_bytes = limit_bytes
        self._line = bytearray()
        self._data: list[str] = []
        self._data_bytes = 0
        self._event = ""
        self._last_id: str | None = None
        self._after_cr = False
        self._started = False

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Return the events that this piece completes; DataError when one is over the limit."""
        events: list[SseEvent] = []
        chunk = self._without_start(chunk)
        if not chunk:
            return events
        # A CR ends its line at once; an LF in the next piece then belongs to that same line end.
        start = 1 if self._after_cr and chunk.startswith(b"\n") else 0
        self._after_cr = chunk[-1] == _CR
        for end in _LINE_END.finditer(chunk, start):
            line = chunk[start : end.start()]
            if self._line:
                line = bytes(self._line) + line
                self._line.clear()
            self._take(line, events)
            start = end.end()
        self._line += chunk[start:]
        self._check(len(self._line))
        return events

    def _without_start(self, chunk: bytes) -> bytes:
        """Drop the byte order mark that may open a stream, also when it comes in pieces."""
        if self._started:
            return chunk
        chunk = bytes(self._line) + chunk
        self._line.clear()
        if len(chunk) < len(_BOM) and _BOM.startswith(chunk):
            self._line += chunk
            return b""
        self._started = True
        return chunk.removeprefix(_BOM)

    def _take(self, line: bytes, events: list[SseEvent]) -> None:
        self._check(len(line))
        if not line:
            self._dispatch(events)
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data_bytes += len(value) + 1
            self._check(self._data_bytes)
            self._data.append(value.decode(errors="replace"))
        elif name == b"event":
            self._event = value.decode(errors="replace")
        elif name == b"id" and b"\0" not in value:
            self._last_id = value.decode(errors="replace")

    def _dispatch(self, events: list[SseEvent]) -> None:
        if self._data:
            text = "\n".join(self._data)
            events.append(SseEvent(self._event or "message", text, self._last_id))
        self._data.clear()
        self._data_bytes = 0
        self._event = ""

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            message = f"a stream's event is over {self._limit_bytes} bytes"
            raise DataError(Refusal(Code.DATA_CORRUPT, message))
