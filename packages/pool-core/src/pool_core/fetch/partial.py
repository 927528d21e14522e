"""The unfinished file of a transfer: `.part` with the bytes, `.json` with what they belong to.

Its length is how far the transfer has come, whoever was killed: it only grows at its end, and
nothing is ever preallocated. Only the holder of the lock touches it.
"""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from pydantic import Field, ValidationError

from orchestrator_core.contracts.base import Fact
from orchestrator_core.errors import Code, HostError, Refusal
from orchestrator_core.platforms.files import sync_folder, write_atomically
from orchestrator_core.units import MIB, format_bytes

__all__ = ["Partial", "PartialFacts", "PartialPaths", "disk_refusal"]

_PIECE_BYTES: Final = MIB
_FACTS_MAX_BYTES: Final = 16 * 1024
_DONE_MODE: Final = 0o444
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class PartialFacts(Fact):
    """What the bytes of a part belong to; etag is the version that a server named for them."""

    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)
    path: str = ""
    etag: str | None = Field(default=None, max_length=256)


class PartialPaths:
    """Where the files of one transfer lie."""

    def __init__(self, folder: Path, key: str) -> None:
        self.part = folder / f"{key}.part"
        self.facts = folder / f"{key}.json"
        self.lock = folder / f"{key}.lock"

    def length(self) -> int:
        """How many bytes are here, as far as anybody can see from outside."""
        try:
            return self.part.stat().st_size
        except OSError:
            return 0


class Partial:
    """An open part, with the hash of all its bytes; a context manager."""

    def __init__(self, paths: PartialPaths, fd: int) -> None:
        self._paths = paths
        self._fd = fd
        self._hash = hashlib.sha256()
        self.length = os.fstat(fd).st_size

    @classmethod
    def open(cls, paths: PartialPaths) -> "Partial":
        """Open what is here, or begin; anything but a plain file of ours is refused."""
        with contextlib.suppress(FileNotFoundError):
            # Whoever ended between the change of the mode and the new name left it read-only.
            if stat.S_ISREG(paths.part.lstat().st_mode):
                paths.part.chmod(0o600)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        fd = os.open(paths.part, flags, 0o600)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise HostError(Refusal(Code.INTERNAL, f"{paths.part} is no plain file: remove it"))
        return cls(paths, fd)

    @property
    def sha256(self) -> str:
        """The hash of all bytes so far."""
        return self._hash.hexdigest()

    def facts(self) -> PartialFacts | None:
        """What was written down about the bytes; None where nothing readable was."""
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            with os.fdopen(os.open(self._paths.facts, flags), "rb") as stream:
                return PartialFacts.model_validate_json(stream.read(_FACTS_MAX_BYTES))
        except (OSError, ValidationError):
            return None

    def note(self, facts: PartialFacts) -> None:
        """Write down what the bytes belong to."""
        write_atomically(self._paths.facts, facts.model_dump_json().encode("utf-8"))

    def read_again(self, seen: Callable[[int], bool]) -> bool:
        """Hash what is here; seen hears the bytes so far and says whether to go on."""
        self._hash = hashlib.sha256()
        done = 0
        while done < self.length:
            piece = os.pread(self._fd, min(_PIECE_BYTES, self.length - done), done)
            if not piece:
                # It is shorter than its length said: what is here ends here.
                self.length = done
                break
            self._hash.update(piece)
            done += len(piece)
            if not seen(done):
                return False
        return True

    def append(self, data: bytes) -> None:
        """Add bytes at the end; raises OSError, and the length tells how much was written."""
        rest = memoryview(data)
        while rest:
            count = os.pwrite(self._fd, rest, self.length)
            self._hash.update(rest[:count])
            self.length += count
            rest = rest[count:]

    def empty(self) -> None:
        """Throw the bytes away."""
        os.ftruncate(self._fd, 0)
        self.length = 0
        self._hash = hashlib.sha256()

    def remove(self) -> None:
        """Throw the bytes away, and what was written down about them."""
        self.empty()
        self._paths.part.unlink(missing_ok=True)
        self._paths.facts.unlink(missing_ok=True)

    def finish(self, into: Path) -> None:
        """Give the verified bytes their name, so that they survive a power cut with it."""
        try:
            os.fchmod(self._fd, _DONE_MODE)
            os.fsync(self._fd)
        except OSError:
            # The system forgets what it could not write; reading it back would prove nothing.
            self.empty()
            raise
        self._paths.part.rename(into)
        for folder in {into.parent, self._paths.part.parent}:
            sync_folder(folder)
        self._paths.facts.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; the bytes stay."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def disk_refusal(error: OSError, path: str, missing_bytes: int) -> Refusal | None:
    """What a disk's error means for a download; None where it is no error of a disk."""
    missing = f"{format_bytes(missing_bytes)} of {path} are still missing"
    details = {"lacking_bytes": missing_bytes}
    if error.errno in _FULL:
        line = f"the disk is full and {missing}: make room and start again, what is here is kept"
        return Refusal(Code.DISK_LOW, line, details)
    if error.errno == errno.EIO:
        line = f"the disk reports an error and {missing}: look at the disk"
        return Refusal(Code.DISK_LOW, line, details)
    return None
