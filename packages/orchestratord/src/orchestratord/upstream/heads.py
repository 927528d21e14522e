"""Judges the head of a worker's HTTP/1.1 answer: status line, fields and how the body is framed.

Pure: http1.py hands in the bytes up to the blank line and gets a Head or the reason of refusal.
Strict on purpose, since a proxy that guesses at framing can be made to mix answers up.
"""

import re
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

__all__ = ["FIELD", "Framing", "Head", "Malformed", "ResponseLimits", "parse_head"]

_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: [\t\x20-\x7e\x80-\xff]*)?")
FIELD: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")
_LENGTH: Final = re.compile(rb"[0-9]{1,18}")
_BODILESS: Final = frozenset({204, 304})
_USUAL_BYTES: Final = 512


class Malformed(StrEnum):
    """Why an answer is refused; the text ends the sentence "the answer is not valid HTTP"."""

    UNASKED = "bytes came before the request was sent"
    NOT_HTTP = "it does not start with HTTP/1"
    STATUS_LINE = "bad status line"
    STATUS_RANGE = "status outside 100 to 599"
    UPGRADE = "protocol switch that nobody asked for"
    INTERIM = "too many interim answers"
    HEAD_SIZE = "head too large"
    HEADER_COUNT = "too many header fields"
    LINE_SIZE = "line too long"
    BARE_LF = "line end without CR"
    FOLDED = "folded header field"
    HEADER = "bad header field"
    LENGTH = "bad content-length"
    CODING = "transfer-encoding other than chunked"
    TWO_FRAMINGS = "content-length and transfer-encoding together"
    CHUNK_SIZE = "bad chunk size"
    CHUNK_END = "chunk does not end where it should"
    TRAILER = "bad trailer"
    TRAILER_SIZE = "trailers too large"


@dataclass(frozen=True, slots=True)
class ResponseLimits:
    """How much of an answer besides its body is read before it is refused."""

    head_bytes: int = 64 * 1024
    header_count: int = 100
    line_bytes: int = 16 * 1024
    size_line_bytes: int = 256
    trailer_bytes: int = 8 * 1024
    interim_count: int = 8


class Framing(IntEnum):
    """How the end of the body is known."""

    NONE = 0
    LENGTH = 1
    CHUNKED = 2
    UNTIL_CLOSE = 3


class Head(NamedTuple):
    """A judged head; names are lower-case, repeated fields are joined by a comma."""

    status: int
    headers: dict[bytes, bytes]
    framing: Framing
    length: int


def parse_head(block: bytes, limits: ResponseLimits) -> Head | Malformed:
    """Judge the bytes before the blank line that ends a head; its fields are not to be changed."""
    # An engine begins one answer like the other, and judging a head costs as much as ten tokens.
    return _judge_again(block, limits) if len(block) <= _USUAL_BYTES else _judge(block, limits)


def _judge(block: bytes, limits: ResponseLimits) -> Head | Malformed:
    lines = block.split(b"\r\n")
    if max(map(len, lines)) > limits.line_bytes:
        return Malformed.LINE_SIZE
    first = _STATUS_LINE.fullmatch(lines[0])
    if first is None:
        return Malformed.STATUS_LINE
    status = int(first[2])
    if not 100 <= status <= 599:
        return Malformed.STATUS_RANGE
    if len(lines) - 1 > limits.header_count:
        return Malformed.HEADER_COUNT
    headers: dict[bytes, bytes] = {}
    for line in lines[1:]:
        field = FIELD.fullmatch(line)
        if field is None:
            return Malformed.FOLDED if line[:1] in b" \t" else Malformed.HEADER
        name = field[1].lower()
        value = field[2].strip(b" \t")
        headers[name] = headers[name] + b", " + value if name in headers else value
    return _framed(status, headers, http_1_0=first[1] == b"0")


_judge_again: Final = lru_cache(maxsize=64)(_judge)


def _framed(status: int, headers: dict[bytes, bytes], *, http_1_0: bool) -> Head | Malformed:
    length = headers.get(b"content-length")
    coding = headers.get(b"transfer-encoding")
    if length is not None and coding is not None:
        return Malformed.TWO_FRAMINGS
    # A repeated field was joined, so that a second length or coding fails here as well.
    if coding is not None and (http_1_0 or coding.lower() != b"chunked"):
        return Malformed.CODING
    if length is not None and _LENGTH.fullmatch(length) is None:
        return Malformed.LENGTH
    if status < 200 or status in _BODILESS:
        return Head(status, headers, Framing.NONE, 0)
    if coding is not None:
        return Head(status, headers, Framing.CHUNKED, 0)
    if length is None:
        return Head(status, headers, Framing.UNTIL_CLOSE, 0)
    return Head(status, headers, Framing.LENGTH, int(length))
