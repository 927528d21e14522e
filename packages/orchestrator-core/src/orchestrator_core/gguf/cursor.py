"""Walks over the first bytes of a file and believes no count or length before it is bounded.

Nothing is ever allocated from a declared length: what is not there yet is asked for, and what
would end beyond the largest header is damage.
"""

import struct
from typing import Final, TypeAlias

from orchestrator_core.units import MIB

__all__ = ["MAX_HEADER_BYTES", "Cursor", "DamagedError", "ShortError", "Walked"]

MAX_HEADER_BYTES: Final = 64 * MIB
"""No header is longer: the largest vocabularies of today fill a quarter of it."""

_U32: Final = struct.Struct("<I")
_U64: Final = struct.Struct("<Q")


class DamagedError(Exception):
    """What stands there can be no sound header; the text says why in one line."""


class ShortError(Exception):
    """The header goes on beyond the bytes at hand."""

    def __init__(self, needed_bytes: int) -> None:
        super().__init__(needed_bytes)
        self.needed_bytes = needed_bytes


Walked: TypeAlias = dict[int, tuple[int, int]]
"""How far lists of texts were stepped over: where one begins, how many are left, and from where."""


class Cursor:
    """A place in the bytes; every read moves it forward or raises.

    walked spares whoever comes back with more of the same bytes the vocabularies he went over.
    """

    def __init__(self, data: memoryview, walked: Walked | None = None) -> None:
        self._data = data
        self._size = len(data)
        self._walked: Walked = {} if walked is None else walked
        self.position = 0

    def expect(self, count: int, what: str) -> int:
        """Where the next bytes begin; raises unless that many are there."""
        end = self.position + count
        if end > MAX_HEADER_BYTES:
            raise DamagedError(f"the header claims {what}: it is damaged")
        if end > self._size:
            raise ShortError(end)
        return self.position

    def skip(self, count: int, what: str) -> None:
        """Step over bytes."""
        self.position = self.expect(count, what) + count

    def u32(self) -> int:
        """The next number of four bytes."""
        start = self.expect(4, "more than it may")
        self.position = start + 4
        return int(_U32.unpack_from(self._data, start)[0])

    def u64(self) -> int:
        """The next number of eight bytes."""
        start = self.expect(8, "more than it may")
        self.position = start + 8
        return int(_U64.unpack_from(self._data, start)[0])

    def unpack(self, layout: struct.Struct) -> tuple[bool | int | float, ...]:
        """The next numbers in this layout."""
        start = self.expect(layout.size, "more than it may")
        self.position = start + layout.size
        return layout.unpack_from(self._data, start)

    def text(self, max_bytes: int, what: str) -> str:
        """The next text, which must be short and sound."""
        size = self.u64()
        if size > max_bytes:
            raise DamagedError(f"the header claims {what} of {size} bytes: it is damaged")
        start = self.expect(size, what)
        self.position = start + size
        try:
            return str(self._data[start : self.position], "utf-8")
        except UnicodeDecodeError:
            raise DamagedError(f"{what} in the header is not text: it is damaged") from None

    def text_if_short(self, max_bytes: int) -> str | None:
        """The next text, or None after stepping over a longer one; odd bytes are replaced."""
        size = self.u64()
        start = self.expect(size, f"a text of {size} bytes")
        self.position = start + size
        if size > max_bytes:
            return None
        return str(self._data[start : self.position], "utf-8", "replace")

    def skip_texts(self, count: int) -> None:
        """Step over a list of texts: one sum per text, for a vocabulary may hold 300,000."""
        self.expect(8 * count, f"a list of {count} texts")
        start = self.position
        data, last = self._data, self._size - 8
        read = _U64.unpack_from
        count_left, position = self._walked.get(start, (count, start))
        for left in range(count_left, 0, -1):
            if position > last:
                self._walked[start] = (left, position)
                self.position = position
                self.expect(8 * left, f"a list of {count} texts")
            position += 8 + read(data, position)[0]
        self._walked[start] = (0, position)
        self.position = position
        self.expect(0, "a text that is too long")
