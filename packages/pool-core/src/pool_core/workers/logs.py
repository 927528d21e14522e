"""Reads what workers say: the last lines of a log, and every new one while it grows.

A log may be cut at its head under its writer (log_cutting). A reader therefore remembers the last
bytes that it took and finds them again, so that a cut neither loses nor repeats a line. Each look
opens the file anew, reads a bounded piece and keeps nothing open.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from orchestrator_core.units import KIB, MIB

__all__ = ["LINE_MAX_BYTES", "POLL_S", "LogReader", "follow", "follow_batches", "tail"]

LINE_MAX_BYTES: Final = 64 * KIB
POLL_S: Final = 0.5

_TAIL_MAX_BYTES: Final = 4 * MIB
_CHUNK_BYTES: Final = 256 * KIB
_STEP_BACK_BYTES: Final = 64 * KIB
# Heads are cut in whole blocks, so a place that moved has moved by a multiple of this.
_BLOCK_BYTES: Final = 4096
_ANCHOR_BYTES: Final = 1024
_ANCHOR_MIN_BYTES: Final = 16
_RETRIES: Final = 5


class LogReader:
    """One reader's place in a log; read() hands out the next lines, never twice the same."""

    def __init__(self, path: Path, lines: int) -> None:
        self._path = path
        self._lines = lines
        self._place: int | None = None
        self._inode: int = 0
        self._size = 0
        self._anchor = b""
        self._rest = bytearray()
        self._skipping = False

    def read(self) -> list[str]:
        """Take whole lines until the end of the file or a bounded number of bytes is reached.

        An empty list means that the end was reached; one that is not empty may have more behind it.
        """
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return []
        try:
            while True:
                data = self._next_piece(fd)
                lines = self._split(data)
                if lines or not data:
                    return lines
        except OSError:
            return []
        finally:
            os.close(fd)

    def rest(self) -> list[str]:
        """Give out a last line that never got its line end; asked once nobody writes any more."""
        lines = [] if self._skipping else [_text(self._rest)]
        self._rest.clear()
        return [line for line in lines if line]

    def _next_piece(self, fd: int) -> bytes:
        for _ in range(_RETRIES):
            self._find_place(fd)
            place = self._place or 0
            data = os.pread(fd, _CHUNK_BYTES, place)
            # A cut may have come in between: then the bytes are of two pictures of the file.
            if self._is_at(fd, place):
                break
        else:
            return b""
        self._place = place + len(data)
        self._anchor = (self._anchor + data)[-_ANCHOR_BYTES:]
        return data

    def _find_place(self, fd: int) -> None:
        found = os.fstat(fd)
        if self._place is None:
            self._place, self._skipping = _start_of_tail(fd, found.st_size, self._lines)
            self._anchor = _before(fd, self._place)
        elif found.st_ino != self._inode:
            self._begin_anew()
        elif found.st_size < max(self._size, self._place) or not self._is_at(fd, self._place):
            self._follow_cut(fd, found.st_size)
            # The size of before may be that of the file before the cut that was just followed.
            found = os.fstat(fd)
        self._inode, self._size = found.st_ino, found.st_size
        behind_hole = _skip_hole(fd, self._place or 0, found.st_size)
        if behind_hole != self._place:
            self._place, self._anchor = behind_hole, _before(fd, behind_hole)

    def _is_at(self, fd: int, place: int) -> bool:
        before = len(self._anchor)
        return _matches(os.pread(fd, before, place - before), self._anchor, least_bytes=1)

    def _follow_cut(self, fd: int, size: int) -> None:
        """Find the bytes before our place again; a head that was cut shifts them down by blocks.

        Shifted places are tried before the old one, which lines that repeat could seem to confirm.
        """
        place = (self._place or 0) - _BLOCK_BYTES
        while place >= _ANCHOR_MIN_BYTES:
            before = min(place, len(self._anchor))
            found = os.pread(fd, before, place - before) if place <= size else b""
            if _matches(found, self._anchor, least_bytes=_ANCHOR_MIN_BYTES):
                self._place, self._anchor = place, found
                return
            place -= _BLOCK_BYTES
        if not self._is_at(fd, self._place or 0):
            self._begin_anew()

    def _begin_anew(self) -> None:
        self._place, self._anchor, self._skipping = 0, b"", False
        self._rest.clear()

    def _split(self, data: bytes) -> list[str]:
        *whole, rest = data.split(b"\n")
        lines: list[str] = []
        for piece in whole:
            self._collect(piece)
            if not self._skipping:
                lines.append(_text(self._rest))
            self._rest.clear()
            self._skipping = False
        self._collect(rest)
        return lines

    def _collect(self, piece: bytes) -> None:
        room = LINE_MAX_BYTES - len(self._rest)
        if room > 0 and not self._skipping:
            self._rest += piece.replace(b"\0", b"")[:room]


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a log, at most 4 MiB of them; none when there is no file."""
    reader = LogReader(path, lines)
    found: list[str] = []
    taken = 0
    while taken <= _TAIL_MAX_BYTES and (batch := reader.read()):
        found += batch
        taken += sum(len(line) for line in batch)
    return (found + reader.rest())[-lines:] if lines > 0 else []


async def follow(
    path: Path,
    *,
    lines: int = 100,
    ended: Callable[[], bool],
    wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[str]:
    """The last lines, then every new one, until `ended` says so and everything was read."""
    async for batch in follow_batches(path, lines=lines, ended=ended, wait=wait):
        for line in batch:
            yield line


async def follow_batches(
    path: Path,
    *,
    lines: int = 100,
    ended: Callable[[], bool],
    wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> AsyncIterator[list[str]]:
    """The same in batches; an empty one after each look that found nothing new."""
    reader = LogReader(path, lines)
    while True:
        # Asked before the look, so that the last words of a worker are still read.
        is_over = ended()
        while batch := await asyncio.to_thread(reader.read):
            yield batch
        if is_over:
            if last := reader.rest():
                yield last
            return
        yield []
        await wait(POLL_S)


def _start_of_tail(fd: int, size: int, lines: int) -> tuple[int, bool]:
    """Where the last lines begin, and whether that is in the middle of a line."""
    if lines <= 0:
        return size, _ends_inside_line(fd, size)
    # A line end that closes the file begins no further line.
    wanted = lines if _ends_inside_line(fd, size) else lines + 1
    floor = max(0, size - _TAIL_MAX_BYTES)
    place = size
    while place > floor:
        begin = max(floor, place - _STEP_BACK_BYTES)
        piece = os.pread(fd, place - begin, begin)
        count = piece.count(b"\n")
        if count >= wanted:
            for _ in range(wanted):
                piece = piece[: piece.rindex(b"\n")]
            return begin + len(piece) + 1, False
        wanted -= count
        place = begin
    return floor, floor > 0 and _ends_inside_line(fd, floor)


def _ends_inside_line(fd: int, place: int) -> bool:
    before = os.pread(fd, 1, place - 1) if place else b"\n"
    # The end of a hole is a border of lines: cuts leave no half line behind it.
    return before not in (b"\n", b"\0")


def _before(fd: int, place: int) -> bytes:
    length = min(place, _ANCHOR_BYTES)
    return os.pread(fd, length, place - length)


def _matches(found: bytes, anchor: bytes, *, least_bytes: int) -> bool:
    """Compare the bytes before a place with those remembered; a cut may have eaten the front."""
    if found == anchor:
        return True
    left = found.lstrip(b"\0")
    return len(left) >= least_bytes and anchor.endswith(left)


def _skip_hole(fd: int, place: int, size: int) -> int:
    if place >= size:
        return place
    try:
        return os.lseek(fd, place, os.SEEK_DATA)
    except OSError:
        # No data behind the place, or a filesystem that cannot tell: then zeros are read.
        return place


def _text(line: bytes | bytearray) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")
