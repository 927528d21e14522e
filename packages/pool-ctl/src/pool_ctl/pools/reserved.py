"""Room on the disk for a file whose bytes come later: what is told only once finds its place then.

The draft lies beside the file and replaces it as a whole; one that a crash has left is taken over,
since whoever reserves holds a lock.
"""

import os
from pathlib import Path
from typing import Self

from orchestrator_core.platforms import files

__all__ = ["Reserved"]


class Reserved:
    """The draft of one file."""

    def __init__(self, path: Path, draft: Path, fd: int) -> None:
        self._path = path
        self._draft = draft
        self._fd: int | None = fd

    @classmethod
    def take(cls, path: Path, size_bytes: int, *, mode: int = 0o600) -> Self:
        """Write as many bytes as will be needed; raises OSError where the disk is full."""
        files.ensure_folder(path.parent)
        draft = path.with_name(f".{path.name}.draft")
        draft.unlink(missing_ok=True)
        fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        reserved = cls(path, draft, fd)
        try:
            os.fchmod(fd, mode)
            os.pwrite(fd, b"\n" * size_bytes, 0)
            os.fsync(fd)
        except OSError as error:
            reserved.drop()
            # A write to a descriptor names no file.
            raise OSError(error.errno, error.strerror, str(path)) from error
        return reserved

    def fill(self, data: bytes) -> None:
        """Put the bytes in and let the draft take the file's place."""
        if self._fd is None:
            raise AssertionError("a draft is filled once")
        os.pwrite(self._fd, data, 0)
        os.ftruncate(self._fd, len(data))
        os.fsync(self._fd)
        self._draft.replace(self._path)
        self._close()
        files.sync_folder(self._path.parent)

    def drop(self) -> None:
        """Take the draft away, unless it is the file by now."""
        if self._fd is not None:
            self._close()
            self._draft.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)
