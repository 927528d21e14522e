"""Cuts a relayed event stream into whole events as raw bytes, and finds the data in one.

Bytes come from an upstream connection read by read; frames go unchanged to clients and, as
payloads, to whoever counts tokens. This is the hot path: the usual read is exactly one event.
"""

import re
from typing import Final

from orchestrator_core.errors import Code, DataError, Refusal
from orchestrator_core.units import MIB

__all__ = ["FrameSplitter", "payload"]

_BOM: Final = b"\xef\xbb\xbf"
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")
_LONE_CR: Final = re.compile(rb"\r(?!\n)")


def payload(frame: bytes) -> bytes | None:
    """Return the data of a frame, its lines joined by LF; None for a comment or an empty frame."""
    if frame[:6] == b"data: " and frame.find(b"\n") == len(frame) - 2 and frame.find(b"\r") < 0:
        return frame[6:-2]
    lines: list[bytes] = []
    for line in frame.replace(b"\r\n", b"\n").split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines) if lines else None


class FrameSplitter:
    """Collects the bytes of one stream and hands out each event with its closing blank line.

    Lines end by LF or CRLF. A lone CR is refused: a client would end a line there and see events
    that nobody here has looked at.
    """

    __slots__ = ("_first", "_limit_bytes", "_rest", "clean")

    def __init__(self, limit_bytes: int = MIB) -> None:
        self._limit_bytes = limit_bytes
        self._rest = bytearray()
        self._first = True
        # True when the next byte starts an event; a byte order mark is looked for before that.
        self.clean = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the events that these bytes complete; DataError when one breaks the rules."""
        if self._first and chunk and chunk[0] != _BOM[0] and not self._rest:
            self._first, self.clean = False, True
        # Searching for one byte costs a third of searching for two, or of the operator `in`.
        size_bytes = len(chunk)
        if self.clean and size_bytes <= self._limit_bytes and chunk.find(b"\r") < 0:
            if chunk.find(b"\n") == size_bytes - 2 and chunk.endswith(b"\n\n"):
                return [chunk]
            parts = chunk.split(b"\n\n")
            if not parts.pop():
                return [part + b"\n\n" for part in parts]
        return self._feed(chunk)

    def _feed(self, chunk: bytes) -> list[bytes]:
        rest = self._rest
        unseen = max(0, len(rest) - 2)
        rest += chunk
        if _BLANK_LINE.search(rest, unseen) is None:
            self.clean = not rest and not self._first
            self._check(len(rest))
            return []
        whole = bytes(rest)
        rest.clear()
        frames: list[bytes] = []
        start = 0
        for blank in _BLANK_LINE.finditer(whole):
            frames.append(self._judged(whole[start : blank.end()]))
            start = blank.end()
        rest += whole[start:]
        self.clean = not rest
        self._check(len(rest))
        return frames

    def _judged(self, frame: bytes) -> bytes:
        self._check(len(frame))
        if b"\r" in frame and _LONE_CR.search(frame):
            raise DataError(Refusal(Code.DATA_CORRUPT, "a stream's event holds a lone CR"))
        if self._first:
            self._first = False
            return frame.removeprefix(_BOM)
        return frame

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            message = f"a stream's event is over {self._limit_bytes} bytes"
            raise DataError(Refusal(Code.DATA_CORRUPT, message))
