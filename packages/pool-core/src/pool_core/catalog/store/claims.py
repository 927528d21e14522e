"""Locks of a store: one for the moments in which it changes, and one for each model on its way.

Threads and processes are treated alike. The kernel frees what a killed holder has held.
"""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Final

from orchestrator_core.errors import Code, Refusal, RequestError
from orchestrator_core.platforms.files import FileLock, ensure_folder
from pool_core.catalog.store.records import slug_of

__all__ = ["Claims", "hold_store"]

_PATIENCE_S: Final = 30.0
_NAP_S: Final = 0.02


@contextlib.contextmanager
def hold_store(
    path: Path,
    *,
    now_s: Callable[[], float] = time.monotonic,
    nap: Callable[[float], None] = time.sleep,
) -> Generator[None]:
    """Be the only one who changes the store; whoever holds it does so for a moment only."""
    ensure_folder(path.parent)
    lock = FileLock(path)
    deadline_s = now_s() + _PATIENCE_S
    while not lock.try_acquire():
        if now_s() >= deadline_s:
            holder = f" (process {pid})" if (pid := lock.holder_pid()) else ""
            line = f"another command{holder} is changing the models: try again"
            raise RequestError(Refusal(Code.CONFLICT, line))
        nap(_NAP_S)
    try:
        yield
    finally:
        lock.release()


class Claims:
    """Says which models are on their way into the store; several may bring the same one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def hold(self, model_id: str) -> Generator[None]:
        """Claim a model until the block ends."""
        ensure_folder(self.folder)
        descriptor = _open(self.folder / f"{slug_of(model_id)}.claim")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield
        finally:
            os.close(descriptor)

    def is_held(self, model_id: str) -> bool:
        """True while anyone brings this model here."""
        return _is_locked(self.folder / f"{slug_of(model_id)}.claim")

    def any_held(self) -> bool:
        """True while any model is on its way."""
        return any(_is_locked(path) for path in self.folder.glob("*.claim"))


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _is_locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
