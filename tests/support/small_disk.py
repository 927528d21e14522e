"""A real file system of a few MiB that a test fills and enlarges; it takes the right to mount."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

__all__ = ["SmallDisk", "small_disk"]

_PIECE_BYTES = 1 << 20


class SmallDisk:
    """A mounted file system and the file of somebody else that grows on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._other = folder / "another-file"

    @property
    def free_bytes(self) -> int:
        """What may still be written."""
        return shutil.disk_usage(self.folder).free

    def resize(self, size_bytes: int) -> None:
        """Make it larger, or smaller down to what lies on it."""
        _as_root("mount", "-o", f"remount,size={size_bytes}", str(self.folder))

    def grow_another_file(self, *, leaving_bytes: int) -> None:
        """Let somebody else write until only so much is free."""
        with self._other.open("ab", buffering=0) as stream:
            while (more := self.free_bytes - leaving_bytes) > 0:
                stream.write(bytes(min(more, _PIECE_BYTES)))

    def delete_other_file(self) -> None:
        """Take what somebody else wrote away again."""
        self._other.unlink()


@contextlib.contextmanager
def small_disk(folder: Path, size_bytes: int) -> Generator[SmallDisk]:
    """Mount a new file system until the block ends; skips the test where nobody may mount."""
    folder.mkdir()
    options = f"size={size_bytes},mode=0700,uid={os.getuid()},gid={os.getgid()}"
    try:
        _as_root("mount", "-t", "tmpfs", "-o", options, "llorch-drill", str(folder))
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(
            "a small file system cannot be mounted here: it takes root, or sudo without ask"
        )
    try:
        yield SmallDisk(folder)
    finally:
        _as_root("umount", "--lazy", str(folder))


def _as_root(*argv: str) -> None:
    first = () if os.getuid() == 0 else ("sudo", "-n")
    subprocess.run([*first, *argv], check=True, capture_output=True, timeout=30)
