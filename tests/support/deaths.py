"""Processes that end in front of a call that changes the disk, or right behind it."""

import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["die_at", "in_a_child"]

_CALLS = (
    *("pwrite", "write", "fsync", "fchmod", "chmod", "ftruncate", "rename", "replace", "unlink"),
    *("mkdir", "rmdir", "link", "utime"),
)


def die_at(call: int) -> None:
    """End this process in front of one of its calls, or right behind it: two deaths per call."""
    count = 0

    def deadly(name: str) -> Callable[..., Any]:
        plain = getattr(os, name)

        def act(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == call:
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "pwrite" and len(args[1]) > 1 and count + 1 == call:
                # Half of what was to be written is on the disk when it ends.
                plain(args[0], bytes(args[1])[: len(args[1]) // 2], args[2])
                os.kill(os.getpid(), signal.SIGKILL)
            result = plain(*args, **kwargs)
            count += 1
            if count == call:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return act

    for name in _CALLS:
        setattr(os, name, deadly(name))


def in_a_child(act: Callable[[], int]) -> int:
    """The code with which a forked child ends that does this; less than 0 if it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(act())
        finally:
            # Only an exception comes here; a forked child must not go on as its parent.
            traceback.print_exc()
            os._exit(70)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
