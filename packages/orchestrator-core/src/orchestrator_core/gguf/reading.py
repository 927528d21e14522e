"""Decides how much of a file is read to know its header, whoever reads: a disk, or a hub by ranges.

The caller reads up to wanted_bytes and adds what it got, until the answer is a Header or Damaged.
"""

from typing import Final

from orchestrator_core.gguf.cursor import Walked
from orchestrator_core.gguf.header import (
    FIRST_READ_BYTES,
    MAX_HEADER_BYTES,
    Damaged,
    Header,
    More,
    parse_header,
)

__all__ = ["HeaderReading"]

_EMPTY: Final = "the file is empty"
_CUT: Final = "it is incomplete: it ends inside its header: download it again"


class HeaderReading:
    """One header on its way; size_bytes is the size of the whole file where it is known."""

    def __init__(self, size_bytes: int | None = None) -> None:
        self._limit = MAX_HEADER_BYTES if size_bytes is None else min(size_bytes, MAX_HEADER_BYTES)
        self._data = b""
        self._walked: Walked = {}
        self._wanted = min(FIRST_READ_BYTES, self._limit)

    @property
    def wanted_bytes(self) -> int:
        """How many bytes from the file's start are needed next, those already added included."""
        return self._wanted

    @property
    def read_bytes(self) -> int:
        """How many bytes from the file's start were added so far."""
        return len(self._data)

    def add(self, data: bytes) -> Header | Damaged | None:
        """Take the bytes that follow the ones added before; None asks for more.

        No bytes at all mean that the file ends here.
        """
        self._data += data
        if data and self.read_bytes < self._wanted:
            # A source may give little at a time: looking each time would cost the square of it.
            return None
        if not self._data:
            return Damaged(_EMPTY)
        header = parse_header(self._data, self._walked)
        if not isinstance(header, More):
            return header
        if not data or header.needed_bytes > self._limit or self.read_bytes >= self._limit:
            return Damaged(_CUT)
        self._wanted = min(max(header.needed_bytes, 2 * self.read_bytes), self._limit)
        return None
