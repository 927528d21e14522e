"""One writer at a time for a file of ours: a lock beside it, waited for a little while."""

import contextlib
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

from orchestrator_core.errors import Code, Refusal, error_for
from orchestrator_core.platforms import files

__all__ = ["locked"]

_TRIES: Final = 50
_STEP_S: Final = 0.1


@contextlib.contextmanager
def locked(file: Path) -> Generator[None]:
    """Hold the lock of a file; another command that keeps it is an error."""
    lock = files.FileLock(file.with_name(f".{file.name}.lock"))
    for _ in range(_TRIES):
        if lock.try_acquire():
            break
        time.sleep(_STEP_S)
    else:
        raise error_for(Refusal(Code.CONFLICT, f"another command is changing {file}: try again"))
    try:
        yield
    finally:
        lock.release()
