"""Reads which part of a file a request wants, as the web's rules have it: pure.

One range is answered. Whatever cannot be read as one, or is for another version, means the whole.
"""

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["Span", "Unsatisfiable", "span_of"]

_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from start to before end."""

    start: int
    end: int
    is_part: bool

    @property
    def size_bytes(self) -> int:
        """How many there are."""
        return self.end - self.start


class Unsatisfiable:
    """A range that begins behind the end of the file."""


def span_of(
    wanted: str | None, if_range: str | None, *, size_bytes: int, etag: str
) -> Span | Unsatisfiable:
    """The part that a Range header names, of a file of this size and version."""
    whole = Span(0, size_bytes, is_part=False)
    found = _RANGE.fullmatch(wanted.strip()) if wanted is not None else None
    if found is None or (if_range is not None and if_range.strip() != etag):
        return whole
    first, last = found.groups()
    if not first:
        return _tail(last, size_bytes) if last else whole
    start = int(first)
    if last and int(last) < start:
        return whole
    if start >= size_bytes:
        return Unsatisfiable()
    end = min(int(last) + 1, size_bytes) if last else size_bytes
    return Span(start, end, is_part=True)


def _tail(length: str, size_bytes: int) -> Span | Unsatisfiable:
    count = min(int(length), size_bytes)
    return Span(size_bytes - count, size_bytes, is_part=True) if count else Unsatisfiable()
