"""Process descriptors of Linux: open one, signal through it, and say in words why neither works."""

import contextlib
import errno
import os
import signal
from collections.abc import Generator
from typing import Final

from orchestrator_core.errors import Code, HostError, Refusal

__all__ = ["open_pidfd", "pidfd", "send"]

# No such process, or the number of a thread: kernels differ in how they say the latter.
_NOBODY: Final = frozenset({errno.ESRCH, errno.EINVAL, errno.ENOENT})
_FULL: Final = frozenset({errno.EMFILE, errno.ENFILE})


def open_pidfd(pid: int) -> int | None:
    """Open a descriptor of the process that has this pid now; None when there is none."""
    try:
        return os.pidfd_open(pid)
    except AttributeError as error:
        raise _refused("this Python knows no pidfd; one built for Linux 5.3 is needed") from error
    except OSError as error:
        if error.errno in _NOBODY:
            return None
        raise _refused(_reason(error)) from error


@contextlib.contextmanager
def pidfd(pid: int) -> Generator[int | None]:
    """Hold a process descriptor for a moment."""
    fd = open_pidfd(pid)
    try:
        yield fd
    finally:
        if fd is not None:
            os.close(fd)


def send(fd: int, signum: int, pid: int) -> bool:
    """Signal the process behind a descriptor; False when it has ended."""
    try:
        signal.pidfd_send_signal(fd, signum)
    except ProcessLookupError:
        return False
    except PermissionError as error:
        raise _refused(f"process {pid} belongs to another user: no right to signal it") from error
    return True


def _reason(error: OSError) -> str:
    if error.errno == errno.ENOSYS:
        return f"this kernel offers no pidfd ({error}); Linux 5.3 or newer is needed"
    if error.errno == errno.EPERM:
        return (
            f"the sandbox we run in forbids pidfd_open ({error}); allow it in its seccomp profile"
        )
    if error.errno in _FULL:
        return f"no descriptor is left to watch a process ({error}); raise the limit of open files"
    return f"cannot open a process descriptor: {error}"


def _refused(reason: str) -> HostError:
    return HostError(Refusal(Code.INTERNAL, reason))
