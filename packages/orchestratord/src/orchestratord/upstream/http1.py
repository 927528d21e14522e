"""Reads one HTTP/1.1 answer from the pieces a socket delivers; no input or output of its own.

Exchange feeds it; the body goes on to a sink, all that one read brought in one call. The usual
read of a token stream is exactly one chunk, so feed() knows that case before anything else.
"""

import re
from collections.abc import Mapping
from enum import Enum
from typing import Final, Protocol

from orchestratord.upstream.heads import (
    FIELD,
    Framing,
    Head,
    Malformed,
    ResponseLimits,
    parse_head,
)

__all__ = ["Malformed", "ResponseLimits", "ResponseParser", "Sink", "Whole"]

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
# A token's event is a few hundred bytes. Its size is looked up, which costs half of reading it;
# the zero that ends a body and every unusual spelling take the careful way.
_USUAL_SIZES: Final = {b"%x" % size: size for size in range(1, 1024)}
_USUAL_LINE: Final = len(b"3ff\r\n")
_VERSION: Final = b"HTTP/1."

# The states are plain integers because one is compared for every read.
_AT_SIZE: Final = 0
_IN_CHUNK: Final = 1
_AFTER_CHUNK: Final = 2
_IN_TRAILER: Final = 3
_IN_LENGTH: Final = 4
_UNTIL_CLOSE: Final = 5
_IN_HEAD: Final = 6
_UNASKED: Final = 7
_AT_END: Final = 8
_CLOSED: Final = 9


class Sink(Protocol):
    """Who gets the answer."""

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Take status and fields; called once, before any data."""
        ...

    def data(self, body: bytes) -> None:
        """Take the body bytes of one read, never empty."""
        ...


class Whole(Enum):
    """The verdict that the answer is complete."""

    WHOLE = "whole"


class _Nobody:
    """Stands in for the sink after close(), so that a finished parser keeps nothing alive."""

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Drop it."""

    def data(self, body: bytes) -> None:
        """Drop it."""


_NOBODY: Final = _Nobody()


class ResponseParser:
    """One answer: expect(), then feed() until it says Whole or Malformed, or feed_eof()."""

    __slots__ = ("_interim", "_kept", "_left", "_limits", "_sink", "_state", "_trailer", "begun")

    def __init__(self, sink: Sink, limits: ResponseLimits) -> None:
        self._sink = sink
        self._limits = limits
        self._state = _UNASKED
        # Bytes of an unfinished head, line or CRLF; empty whenever a chunk is awaited or read.
        self._kept = bytearray()
        self._left = 0
        self._interim = 0
        self._trailer = 0
        self.begun = False

    def expect(self) -> None:
        """Say that the request is on its way; bytes that come earlier are refused."""
        if self._state == _UNASKED:
            self._state = _IN_HEAD

    def close(self) -> None:
        """Let the sink go; whatever is fed from now on is dropped."""
        self._state = _CLOSED
        self._sink = _NOBODY

    def feed(self, data: bytes) -> Whole | Malformed | None:
        """Take what one read brought; None means that more is to come."""
        if self._state == _AT_SIZE and not self._kept:
            eol = data.find(b"\r\n", 0, _USUAL_LINE)
            size = _USUAL_SIZES.get(data[:eol]) if eol > 0 else None
            if size and eol + size + 4 == len(data) and data.endswith(b"\r\n"):
                self._sink.data(data[eol + 2 : -2])
                return None
        return self._feed(data)

    def feed_eof(self) -> Whole | None:
        """Take the end of the connection; None means that it cut the answer off."""
        whole = self._state == _UNTIL_CLOSE
        self._state = _CLOSED
        return Whole.WHOLE if whole else None

    def _feed(self, data: bytes) -> Whole | Malformed | None:
        if not data or self._state == _CLOSED:
            return None
        if self._state == _UNASKED:
            return self._refuse(Malformed.UNASKED)
        if self._state != _IN_HEAD:
            return self._feed_body(data)
        self.begun = True
        return self._feed_head(data)

    def _refuse(self, reason: Malformed) -> Malformed:
        self._state = _CLOSED
        return reason

    # The head

    def _feed_head(self, data: bytes) -> Whole | Malformed | None:
        kept = self._kept
        unseen = max(0, len(kept) - 3)
        kept += data
        while True:
            end = kept.find(b"\r\n\r\n", unseen)
            if end < 0:
                reason = self._unfinished_head(unseen)
                return self._refuse(reason) if reason else None
            if end > self._limits.head_bytes:
                return self._refuse(Malformed.HEAD_SIZE)
            block = bytes(kept[:end])
            del kept[: end + 4]
            unseen = 0
            head = self._judge(block)
            if isinstance(head, Malformed):
                return self._refuse(head)
            if head.status >= 200:
                return self._begin_body(head)

    def _judge(self, block: bytes) -> Head | Malformed:
        if not block.startswith(_VERSION):
            return Malformed.NOT_HTTP
        if block.count(b"\n") != block.count(b"\r\n"):
            return Malformed.BARE_LF
        head = parse_head(block, self._limits)
        if isinstance(head, Malformed) or head.status >= 200:
            return head
        if head.status == 101:
            return Malformed.UPGRADE
        self._interim += 1
        return Malformed.INTERIM if self._interim > self._limits.interim_count else head

    def _unfinished_head(self, unseen: int) -> Malformed | None:
        """Refuse early what can never become a head, so that nobody waits for its end."""
        kept = self._kept
        if not _VERSION.startswith(kept[: len(_VERSION)]):
            return Malformed.NOT_HTTP
        # A CRLF counts as seen when its LF is.
        if kept.count(b"\n", unseen) != kept.count(b"\r\n", max(0, unseen - 1)):
            return Malformed.BARE_LF
        # Part of the line ends may be here already: they do not count, however reads are cut.
        if len(kept) - 3 > self._limits.head_bytes:
            return Malformed.HEAD_SIZE
        line_bytes = len(kept) - kept.rfind(b"\n") - 2
        return Malformed.LINE_SIZE if line_bytes > self._limits.line_bytes else None

    def _begin_body(self, head: Head) -> Whole | Malformed | None:
        first = bytes(self._kept)
        self._kept.clear()
        self._left = head.length
        match head.framing:
            case Framing.CHUNKED:
                self._state = _AT_SIZE
            case Framing.UNTIL_CLOSE:
                self._state = _UNTIL_CLOSE
            case Framing.LENGTH | Framing.NONE:
                self._state = _IN_LENGTH if head.length else _AT_END
        self._sink.head(head.status, head.headers)
        return self._feed_body(first)

    # The body

    def _feed_body(self, data: bytes) -> Whole | Malformed | None:
        reason = None
        if self._state == _IN_LENGTH:
            body = data[: self._left]
            self._left -= len(body)
            if not self._left:
                self._state = _AT_END
        elif self._state == _UNTIL_CLOSE:
            body = data
        elif self._state in (_AT_END, _CLOSED):
            body = b""
        else:
            pieces: list[bytes] = []
            reason = self._read_chunks(data, pieces)
            body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        # What came before a fault is good: its tokens need not be made again.
        if body:
            self._sink.data(body)
        if self._state == _CLOSED:
            return None
        if reason is not None:
            return self._refuse(reason)
        return self._end() if self._state == _AT_END else None

    def _end(self) -> Whole:
        # Bytes behind the end are never looked at: the connection carries this one answer only.
        self._state = _CLOSED
        return Whole.WHOLE

    def _read_chunks(self, data: bytes, pieces: list[bytes]) -> Malformed | None:
        if self._kept:
            data = bytes(self._kept) + data
            self._kept.clear()
        position = 0
        while position < len(data) and self._state != _AT_END:
            if self._state == _AT_SIZE:
                position = _take_whole_chunks(data, position, pieces)
                step = self._take_size_line(data, position)
            elif self._state == _IN_CHUNK:
                step = self._take_part(data, position, pieces)
            elif self._state == _AFTER_CHUNK:
                step = self._take_chunk_end(data, position)
            else:
                step = self._take_trailer(data, position)
            if isinstance(step, Malformed):
                return step
            position = step
        return None

    def _take_size_line(self, data: bytes, position: int) -> int | Malformed:
        eol = data.find(b"\r\n", position)
        if _line_bytes(data, position, eol) > self._limits.size_line_bytes:
            return Malformed.LINE_SIZE
        if eol < 0:
            return self._keep(data, position)
        line = _SIZE_LINE.fullmatch(data, position, eol)
        if line is None:
            return Malformed.CHUNK_SIZE
        self._left = int(line[1], 16)
        self._state = _IN_CHUNK if self._left else _IN_TRAILER
        return eol + 2

    def _take_part(self, data: bytes, position: int, pieces: list[bytes]) -> int:
        piece = data[position : position + self._left]
        pieces.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._state = _AFTER_CHUNK
        return position + len(piece)

    def _take_chunk_end(self, data: bytes, position: int) -> int | Malformed:
        if data.startswith(b"\r\n", position):
            self._state = _AT_SIZE
            return position + 2
        if data[position:] == b"\r":
            return self._keep(data, position)
        return Malformed.CHUNK_END

    def _take_trailer(self, data: bytes, position: int) -> int | Malformed:
        eol = data.find(b"\r\n", position)
        line_bytes = _line_bytes(data, position, eol)
        if self._trailer + line_bytes > self._limits.trailer_bytes:
            return Malformed.TRAILER_SIZE
        if eol < 0:
            return self._keep(data, position)
        if eol == position:
            self._state = _AT_END
        elif FIELD.fullmatch(data, position, eol) is None:
            return Malformed.TRAILER
        self._trailer += line_bytes + 2
        return eol + 2

    def _keep(self, data: bytes, position: int) -> int:
        self._kept += data[position:]
        return len(data)


def _line_bytes(data: bytes, position: int, eol: int) -> int:
    """Measure a line; the CR that may end an unfinished one does not count."""
    return (eol if eol >= 0 else len(data) - 1) - position


def _take_whole_chunks(data: bytes, position: int, pieces: list[bytes]) -> int:
    """Take the usual chunks that lie whole in this read; the caller takes anything else."""
    while True:
        eol = data.find(b"\r\n", position, position + _USUAL_LINE)
        size = _USUAL_SIZES.get(data[position:eol]) if eol > position else None
        if size is None:
            return position
        start = eol + 2
        end = start + size
        if not data.startswith(b"\r\n", end):
            return position
        pieces.append(data[start:end])
        position = end + 2
