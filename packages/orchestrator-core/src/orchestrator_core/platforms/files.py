"""Files that survive a crash: atomic writes, private folders, and a lock that dies with its holder."""

import contextlib
import errno
import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

__all__ = ["FileLock", "ensure_folder", "sync_folder", "write_atomically"]

_KERNEL_LOCKS: Final = Path("/proc/locks")


def ensure_folder(path: Path, mode: int = 0o700) -> None:
    """Make a folder and its parents; the folder itself gets the mode if it is new."""
    if path.is_dir():
        return
    ensure_folder(path.parent, mode)
    try:
        path.mkdir(mode)
        # The umask may have taken bits away, for example the owner's own.
        path.chmod(mode)
    except FileExistsError:
        # Somebody has made it meanwhile, unless something else lies there.
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file as a whole: after a crash it holds the old bytes or the new ones."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.new")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with open(fd, "wb") as stream:  # noqa: PTH123 - a descriptor, not a path
            os.fchmod(fd, mode)
            stream.write(data)
            stream.flush()
            os.fsync(fd)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


class FileLock:
    """An flock on a file: the kernel frees it when its holder ends, however it ends.

    The file stays in place for ever, because removing it would let two holders lock two files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock and write our pid into the file; False when someone else has it."""
        if self._fd is not None:
            return True
        # Through a link the file of somebody else would be emptied.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(self._path, flags, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise
        self._fd = fd
        # Whoever wants to delete something from a full disk needs the lock, and no pid in it.
        with contextlib.suppress(OSError):
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode("ascii"), 0)
        return True

    def release(self) -> None:
        """Give the lock back; harmless when we do not hold it."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.ftruncate(fd, 0)
            os.close(fd)

    def holder_pid(self) -> int | None:
        """The pid of whoever holds the lock now; None when it is free or cannot be told.

        The file names its last holder, also one that crashed; the kernel's list of locks confirms
        it without touching the lock, so that asking never gets in the way of a daemon's start.
        """
        try:
            text = self._path.read_text("ascii").strip()
            inode = self._path.stat().st_ino
        except (FileNotFoundError, UnicodeDecodeError):
            return None
        if not text.isdecimal() or not self._is_locked_by(text, inode):
            return None
        return int(text)

    def _is_locked_by(self, pid: str, inode: int) -> bool:
        try:
            lines = _KERNEL_LOCKS.read_text("ascii").splitlines()
        except FileNotFoundError:
            return self._fd is not None or _refuses_a_reader(self._path)
        return _is_listed(lines, pid, inode)


def _is_listed(lines: list[str], pid: str, inode: int) -> bool:
    locks = (line.split() for line in lines)
    return any(
        lock[1] == "FLOCK" and lock[4] == pid and lock[5].endswith(f":{inode}") for lock in locks
    )


def _refuses_a_reader(path: Path) -> bool:
    # Without a list of locks, as on macOS, only trying tells whether there is one. A shared lock
    # for a moment keeps askers apart from each other; a daemon that starts within this very moment
    # would find the file taken, which is why a listed lock is preferred.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Make names that came or went in a folder survive a power cut."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
