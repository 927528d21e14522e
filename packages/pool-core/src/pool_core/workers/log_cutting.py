"""Keeps worker logs small although the workers themselves hold them open for writing.

The child appends with O_APPEND and knows nothing of us. A head is cut off under it where the
filesystem can do that, else its blocks are given back and zeros stay; a line is never torn.
"""

import asyncio
import contextlib
import ctypes
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Set
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, cast

from orchestrator_core.platforms.files import write_atomically
from orchestrator_core.units import MIB, format_bytes

__all__ = [
    "KEPT_BYTES",
    "LIMIT_BYTES",
    "Cut",
    "How",
    "cut_log",
    "fallocate",
    "keep_logs_small",
    "mark_start",
    "prune_logs",
    "worker_name_of",
]

LIMIT_BYTES: Final = 16 * MIB
KEPT_BYTES: Final = 8 * MIB

_LAST_RESORT_FACTOR: Final = 4
_KEPT_PER_NAME: Final = 5
_KEPT_IN_ALL: Final = 50
_EVERY_S: Final = 10.0
_BLOCK_BYTES: Final = 4096
_STAT_BLOCK_BYTES: Final = 512
_LINE_SEARCH_BYTES: Final = 256 * 1024
_MARK_MAX_BYTES: Final = 512

_KEEP_SIZE: Final = 0x01
_PUNCH_HOLE: Final = 0x02
_COLLAPSE_RANGE: Final = 0x08

Fallocate = Callable[[int, int, int, int], None]
"""File descriptor, mode, offset, length; OSError when the filesystem cannot do it."""


class How(StrEnum):
    """What was done about a log that is too long."""

    COLLAPSED = "collapsed"
    PUNCHED = "punched"
    REWRITTEN = "rewritten"
    TRUNCATED = "truncated"
    LEFT = "left"
    """Nothing works now; a later look tries again, at the latest when its worker has ended."""


@dataclass(frozen=True, slots=True)
class Cut:
    """One cut; shift_bytes is by how much every offset behind it became smaller."""

    how: How
    freed_bytes: int = 0
    shift_bytes: int = 0


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """Call the C library's fallocate; OSError where there is none or it cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    function = getattr(libc, "fallocate64", None) or getattr(libc, "fallocate", None)
    if function is None:
        raise OSError("no fallocate on this system")
    function.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if cast("int", function(fd, mode, offset, length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def cut_log(
    path: Path,
    *,
    has_writer: bool,
    limit_bytes: int = LIMIT_BYTES,
    kept_bytes: int = KEPT_BYTES,
    allocate: Fallocate = fallocate,
) -> Cut | None:
    """Cut the head of a log that is over the limit; None when there is nothing to do."""
    try:
        # Without O_APPEND, under which Linux would write at the end whatever the offset says.
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        used = min(found.st_size, found.st_blocks * _STAT_BLOCK_BYTES)
        if used <= limit_bytes:
            return None
        head = found.st_size - min(kept_bytes, limit_bytes)
        cut = _collapse(fd, head, allocate) or _punch(fd, head, used, allocate)
        if cut is not None:
            return cut
        if not has_writer:
            return _rewrite(fd, path, head)
        if used <= limit_bytes * _LAST_RESORT_FACTOR:
            return Cut(How.LEFT)
        return _truncate(fd, path, used)
    except OSError:
        # A full disk or a broken one: the log stays as it is until the next look.
        return Cut(How.LEFT)
    finally:
        os.close(fd)


async def keep_logs_small(
    folder: Path,
    is_alive: Callable[[str], bool],
    *,
    wait: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Look after every log of a folder until cancelled; is_alive tells by a worker's id."""
    while True:
        logs = await asyncio.to_thread(_logs_in, folder)
        live: set[str] = set()
        for path in logs:
            has_writer = is_alive(path.stem)
            if has_writer:
                live.add(path.stem)
            await asyncio.to_thread(cut_log, path, has_writer=has_writer)
        # A log that is made meanwhile is the newest of all, and those are kept.
        await asyncio.to_thread(prune_logs, folder, live)
        await wait(_EVERY_S)


def mark_start(path: Path, *, worker_name: str, incarnation: int, at: str) -> None:
    """Write the line that a start begins with, so that a log tells whose it is for ever."""
    words = {"event": "start", "worker": worker_name, "incarnation": incarnation, "at": at}
    _append(path, json.dumps(words).encode() + b"\n")


def worker_name_of(path: Path) -> str | None:
    """The name of the worker that wrote a log; None when its first line is gone."""
    try:
        with path.open("rb") as log:
            first: object = json.loads(log.readline(_MARK_MAX_BYTES))
    except (OSError, ValueError):
        return None
    if not isinstance(first, dict):
        return None
    name = cast("dict[str, object]", first).get("worker")
    return name if isinstance(name, str) else None


def prune_logs(folder: Path, live: Set[str]) -> list[Path]:
    """Remove logs of ended workers: five of each name are kept, and fifty in all."""
    newest_first = sorted(_ended_logs(folder, live), reverse=True)
    by_name: dict[str | None, int] = {}
    kept = 0
    removed: list[Path] = []
    for _, path in newest_first:
        name = worker_name_of(path)
        of_this_name = by_name.get(name, 0) if name is not None else 0
        if kept < _KEPT_IN_ALL and of_this_name < _KEPT_PER_NAME:
            by_name[name] = of_this_name + 1
            kept += 1
            continue
        with contextlib.suppress(OSError):
            path.unlink()
            removed.append(path)
    return removed


def _logs_in(folder: Path) -> list[Path]:
    try:
        return sorted(folder.glob("*.log"))
    except OSError:
        return []


def _ended_logs(folder: Path, live: Set[str]) -> Iterator[tuple[int, Path]]:
    for path in _logs_in(folder):
        with contextlib.suppress(OSError):
            if path.stem not in live:
                yield path.stat().st_mtime_ns, path


def _collapse(fd: int, head: int, allocate: Fallocate) -> Cut | None:
    """Cut whole blocks out of the file; the half line that now begins it becomes zeros."""
    block = max(_BLOCK_BYTES, os.fstatvfs(fd).f_bsize)
    length = head - head % block
    try:
        allocate(fd, _COLLAPSE_RANGE, 0, length)
    except OSError:
        return None
    half = _to_line_start(fd, 0)
    os.pwrite(fd, bytes(half), 0)
    return Cut(How.COLLAPSED, length, length)


def _punch(fd: int, head: int, used: int, allocate: Fallocate) -> Cut | None:
    length = head + _to_line_start(fd, head)
    try:
        allocate(fd, _PUNCH_HOLE | _KEEP_SIZE, 0, length)
    except OSError:
        return None
    left = os.fstat(fd).st_blocks * _STAT_BLOCK_BYTES
    return Cut(How.PUNCHED, max(0, used - left))


def _rewrite(fd: int, path: Path, head: int) -> Cut:
    begin = head + _to_line_start(fd, head)
    size = os.fstat(fd).st_size
    write_atomically(path, os.pread(fd, size - begin, begin))
    return Cut(How.REWRITTEN, begin, begin)


def _truncate(fd: int, path: Path, used: int) -> Cut:
    os.ftruncate(fd, 0)
    words = f"llorch-pool: {format_bytes(used)} were dropped: this filesystem cuts only whole logs"
    _append(path, words.encode() + b"\n")
    return Cut(How.TRUNCATED, used, used)


def _append(path: Path, line: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, line)
    finally:
        os.close(fd)


def _to_line_start(fd: int, place: int) -> int:
    """How far the next line begins behind a place; a very long line may be torn."""
    piece = os.pread(fd, _LINE_SEARCH_BYTES, place)
    found = piece.find(b"\n")
    return len(piece) if found < 0 else found + 1
