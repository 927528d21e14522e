"""The file that holds space in reserve for a full disk.

The store's thread gives it up when a write finds no room; whoever watches the disk makes it anew.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from orchestrator_core.units import MIB

__all__ = ["BALLAST_NAME", "Ballast"]

BALLAST_NAME: Final = "ballast"

# What stays for the next start: opening the database takes a few pages beside it.
_LAST_BYTES: Final = 1 * MIB


class Ballast:
    """One file of real blocks; a size of 0 keeps none."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._path = path

    @property
    def missing_bytes(self) -> int:
        """How much of it is not held now."""
        try:
            return max(0, self.size_bytes - self._path.stat().st_size)
        except OSError:
            return self.size_bytes

    def make(self) -> bool:
        """Take the space; True when it is held whole afterwards."""
        if self.missing_bytes:
            # What was taken of it stays: the next try needs less.
            with contextlib.suppress(OSError):
                self._take()
        return not self.missing_bytes

    def trim(self) -> bool:
        """Give back what was held under a larger size; True when there was something."""
        return self._shrink_to(self.size_bytes)

    def release(self) -> bool:
        """Give the space up but for a last bit; True when there was some to give."""
        return self._shrink_to(_LAST_BYTES)

    def release_all(self) -> bool:
        """Give up the last bit too, which serves the opening of the database."""
        return self._shrink_to(0)

    def _take(self) -> None:
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file, 0, self.size_bytes)
            else:
                _fill(file, self.size_bytes)
            os.fsync(file)
        finally:
            os.close(file)

    def _shrink_to(self, size_bytes: int) -> bool:
        try:
            held_bytes = self._path.stat().st_size
            if held_bytes <= size_bytes:
                return False
            os.truncate(self._path, size_bytes)
        except OSError:
            return False
        return True


def _fill(file: int, size_bytes: int) -> None:
    """Write zeros behind what is there, where the system cannot reserve blocks."""
    left = size_bytes - os.lseek(file, 0, os.SEEK_END)
    while left > 0:
        left -= os.write(file, bytes(min(left, MIB)))
