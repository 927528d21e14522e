"""Opens files of the store without following a link: only a regular file is ever read.

A link put into the store could otherwise show a file from anywhere on the host as a model.
"""

import os
import stat
from pathlib import Path
from typing import Final

__all__ = [
    "NotRegularError",
    "bytes_under",
    "look",
    "open_followed",
    "open_regular",
    "read_part",
    "read_regular",
]

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class NotRegularError(OSError):
    """Something else than a regular file lies where the store keeps one."""

    def __init__(self, path: Path) -> None:
        super().__init__(0, "it is a link or something else than a file", str(path))


def look(path: Path) -> os.stat_result:
    """What lies under a path; a link is refused rather than followed."""
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError(path)
    return status


def open_regular(path: Path) -> int:
    """A descriptor of a regular file."""
    look(path)
    descriptor = os.open(path, _FLAGS)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise NotRegularError(path)


def read_regular(path: Path, *, max_bytes: int) -> bytes:
    """The content of a small regular file; a larger one is refused."""
    with os.fdopen(open_regular(path), "rb") as stream:
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(0, f"it is larger than {max_bytes} bytes", str(path))
    return data


def read_part(path: Path, start: int, end: int) -> bytes:
    """The bytes of a regular file from start to before end, as far as it goes."""
    descriptor = open_regular(path)
    try:
        return os.pread(descriptor, max(end - start, 0), start)
    finally:
        os.close(descriptor)


def bytes_under(path: Path) -> int:
    """The size of a file, or of everything in a folder; links count nothing."""
    try:
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            found = (Path(place) / name for place, _, names in os.walk(path) for name in names)
            return sum(bytes_under(file) for file in found)
        return path.lstat().st_size if stat.S_ISREG(mode) else 0
    except OSError:
        return 0


def open_followed(path: Path) -> int:
    """A descriptor of the regular file that a person named, at the end of any links."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise NotRegularError(path)
    descriptor = os.open(path, _FLAGS & ~os.O_NOFOLLOW)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise NotRegularError(path)
