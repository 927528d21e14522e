"""Brings a file of this host into the store: by a hard link, a shared copy or a real one.

A shared copy (reflink) costs nothing and later edits stay apart; a hard link shares them, which is
why every content is hashed after it was taken and never before.
"""

import ctypes
import errno
import fcntl
import os
import secrets
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms.files import ensure_folder
from pool_core.catalog.reading import cancelled, hash_descriptor, hash_file
from pool_core.catalog.store.blobs import Blobs
from pool_core.catalog.store.regular import open_followed
from pool_core.fetch.cancel import Cancel
from pool_core.fetch.room import Reserve, judge_room

__all__ = ["DRAFT_SUFFIX", "Intake", "Taken", "Way"]

DRAFT_SUFFIX: Final = ".draft"

_FICLONE: Final = 0x40049409
# The file system, or the rights on the file, do not allow this way; another one may work.
_NOT_THIS_WAY: Final = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOTTY}
    | {errno.EINVAL, errno.EMLINK, errno.ENOSYS}
)
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Way(StrEnum):
    """How a file comes into the store."""

    REFLINK = "reflink"
    HARDLINK = "hardlink"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Taken:
    """A content that is in the store now, and how it came there."""

    sha256: str
    size_bytes: int
    way: Way


@dataclass(frozen=True, slots=True)
class Intake:
    """Takes files into one store; drafts lie in a folder of the same file system."""

    blobs: Blobs
    drafts: Path
    free_bytes: Callable[[Path], int]
    """How much is free on the file system of a folder."""

    reserve: Reserve = field(default_factory=Reserve)

    def take(
        self,
        source: Path,
        ways: Sequence[Way],
        *,
        tell: Callable[[int], None],
        cancel: Cancel,
        expected_sha256: str | None = None,
    ) -> Taken | Refusal:
        """Take a file by the first way that works, hash it, and give it its name."""
        ensure_folder(self.drafts)
        self.blobs.prepare()
        try:
            descriptor = open_followed(source)
        except OSError as error:
            return Refusal(Code.NOT_FOUND, f"{source.name} cannot be read: {error.strerror}")
        draft = self.drafts / f"{secrets.token_hex(16)}{DRAFT_SUFFIX}"
        work = _Work(source, descriptor, draft, tell, cancel)
        try:
            return self._take(work, ways, expected_sha256)
        except OSError as error:
            return _failed(source, error)
        finally:
            os.close(descriptor)
            draft.unlink(missing_ok=True)

    def _take(
        self, work: "_Work", ways: Sequence[Way], expected_sha256: str | None
    ) -> Taken | Refusal:
        before = os.fstat(work.descriptor)
        found = self._make(work, ways, before.st_size)
        if isinstance(found, Refusal):
            return found
        way, sha256 = found
        if _changed(before, os.fstat(work.descriptor), work.draft.stat()):
            return Refusal(
                Code.CONFLICT, f"{work.source.name} changed while it was read: try again"
            )
        if expected_sha256 is not None and sha256 != expected_sha256:
            details = {"expected": expected_sha256, "actual": sha256}
            line = f"{work.source.name} is damaged: its content is not what its name says"
            return Refusal(Code.DATA_CORRUPT, line, details)
        if not self._has_sound(sha256, before.st_size, work):
            self.blobs.put(work.draft, sha256)
        return Taken(sha256, before.st_size, way)

    def _has_sound(self, sha256: str, size_bytes: int, work: "_Work") -> bool:
        """Whether the content is here already; one that has rotted unseen is to be replaced."""
        if not self.blobs.holds(sha256, size_bytes):
            return False
        try:
            if os.path.samestat(self.blobs.look(sha256), work.draft.stat()):
                return True
            return (
                hash_file(self.blobs.path(sha256), tell=_tell_nobody, cancel=work.cancel) == sha256
            )
        except OSError:
            return False

    def _make(
        self, work: "_Work", ways: Sequence[Way], size_bytes: int
    ) -> tuple[Way, str] | Refusal:
        """The draft of a file by the first way that works, and the hash of its content."""
        failure: OSError | None = None
        for way in ways:
            if way is Way.COPY and (no_room := self._no_room(work, size_bytes)):
                return no_room
            try:
                sha256 = _MAKERS[way](work)
            except OSError as error:
                work.draft.unlink(missing_ok=True)
                if error.errno not in _NOT_THIS_WAY:
                    raise
                failure = error
                continue
            return cancelled(f"taking in {work.source.name}") if sha256 is None else (way, sha256)
        reason = failure.strerror if failure else "no way was named"
        line = f"{work.source.name} cannot be taken in by {' or '.join(ways)}: {reason}"
        return Refusal(Code.INVALID_REQUEST, f"{line}; try --method copy")

    def _no_room(self, work: "_Work", size_bytes: int) -> Refusal | None:
        return judge_room(
            work.source.name,
            size_bytes=size_bytes,
            missing_bytes=size_bytes,
            free_bytes=self.free_bytes(self.drafts),
            reserve=self.reserve,
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """One file on its way in."""

    source: Path
    descriptor: int
    draft: Path
    tell: Callable[[int], None]
    cancel: Cancel

    def hash(self, descriptor: int, copy_to: int | None = None) -> str | None:
        """The hash of a file, unless the act is cancelled."""
        return hash_descriptor(descriptor, tell=self.tell, cancel=self.cancel, copy_to=copy_to)


def _tell_nobody(done_bytes: int) -> None:
    del done_bytes


def _hard_link(work: _Work) -> str | None:
    work.draft.hardlink_to(work.source.resolve())
    mine, its = work.draft.lstat(), os.fstat(work.descriptor)
    if (mine.st_dev, mine.st_ino) != (its.st_dev, its.st_ino):
        raise OSError(errno.ESTALE, "another file took its place", str(work.source))
    return work.hash(work.descriptor)


def _reflink(work: _Work) -> str | None:
    if sys.platform == "darwin":
        _clone_file(work.source.resolve(), work.draft)
        target = os.open(work.draft, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    else:
        target = _create(work.draft)
    try:
        if sys.platform != "darwin":
            fcntl.ioctl(target, _FICLONE, work.descriptor)
        os.fsync(target)
        return work.hash(target)
    finally:
        os.close(target)


def _copy(work: _Work) -> str | None:
    target = _create(work.draft)
    try:
        sha256 = work.hash(work.descriptor, copy_to=target)
        os.fsync(target)
    finally:
        os.close(target)
    return sha256


_MAKERS: Final[Mapping[Way, Callable[[_Work], "str | None"]]] = {
    Way.HARDLINK: _hard_link,
    Way.REFLINK: _reflink,
    Way.COPY: _copy,
}


def _create(draft: Path) -> int:
    return os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _clone_file(source: Path, draft: Path) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.clonefile(os.fsencode(source), os.fsencode(draft), 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(source))


def _changed(before: os.stat_result, after: os.stat_result, draft: os.stat_result) -> bool:
    times = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
    return times or draft.st_size != before.st_size


def _failed(source: Path, error: OSError) -> Refusal:
    if error.errno in _NO_ROOM:
        line = f"the disk is full: {source.name} was not taken in: make room and start again"
        return Refusal(Code.DISK_LOW, line)
    return Refusal(Code.INVALID_REQUEST, f"{source.name} cannot be taken in: {error.strerror}")
