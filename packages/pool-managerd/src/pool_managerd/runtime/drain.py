"""Whether this pool takes orders for new workers; durable, and decided by a person alone.

The file is there while the pool drains: an answer is given only once it is written or removed, and
a daemon that starts anew finds it. What a draining pool does with a wanted set is a pure function.
"""

import asyncio
import errno
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol

import structlog

from orchestrator_core.contracts.pool import WantedSet, WantedWorker, WorkerReport
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms import files
from pool_core.workers.charge import ENDED

__all__ = ["DrainSwitch", "Draining", "only_running", "refuse_start"]

_WORDS: Final = b'{"draining": true}\n'
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

_log: Final = structlog.stdlib.get_logger()


class Draining(Protocol):
    """What others ask."""

    @property
    def active(self) -> bool:
        """True while no new worker of the orchestrator is started."""
        ...


class DrainSwitch:
    """The one switch of a pool; on_change tells the orchestrator at once."""

    def __init__(self, path: Path, on_change: Callable[[], None]) -> None:
        self._path = path
        self._on_change = on_change
        self._turn = asyncio.Lock()
        # Whatever the file holds: that it is there says that a person wanted the pool to drain.
        self._active = path.exists()

    @property
    def active(self) -> bool:
        """True while no new worker of the orchestrator is started."""
        return self._active

    async def drain(self) -> Refusal | None:
        """Take no new orders from now on; a refusal means that nothing has changed."""
        return await self._switch(to=True)

    async def resume(self) -> Refusal | None:
        """Take orders again; a refusal means that nothing has changed."""
        return await self._switch(to=False)

    async def _switch(self, *, to: bool) -> Refusal | None:
        async with self._turn:
            if to is self._active:
                return None
            try:
                await asyncio.to_thread(self._store, to=to)
            except OSError as error:
                return _not_stored(self._path, error)
            self._active = to
        _log.info("pool.draining" if to else "pool.resumed")
        self._on_change()
        return None

    def _store(self, *, to: bool) -> None:
        if to:
            files.write_atomically(self._path, _WORDS)
        else:
            # Removing works on a full disk as well, so a pool can always come back.
            self._path.unlink(missing_ok=True)


def refuse_start(worker_id: str, reports: Sequence[WorkerReport]) -> Refusal | None:
    """Answer an order of the orchestrator while draining: only what runs already is confirmed."""
    if any(report.id == worker_id and report.status not in ENDED for report in reports):
        return None
    return Refusal(
        Code.DRAINING,
        "this pool is draining: it starts no worker for the orchestrator until it is resumed",
        retry_after_s=30,
    )


def only_running(wanted: WantedSet, reports: Sequence[WorkerReport]) -> WantedSet:
    """The wanted set without what would be a start; what is no longer wanted still stops."""
    generations = {report.id: report.generation for report in reports}
    workers = [
        _not_newer(worker, generations[worker.worker_id])
        for worker in wanted.workers
        if worker.worker_id in generations
    ]
    return wanted.model_copy(update={"workers": workers})


def _not_newer(worker: WantedWorker, generation: int) -> WantedWorker:
    # A newer generation of a worker that has failed would be its next start.
    if worker.generation <= generation:
        return worker
    return worker.model_copy(update={"generation": generation})


def _not_stored(path: Path, error: OSError) -> Refusal:
    code = Code.DISK_LOW if error.errno in _FULL else Code.INTERNAL
    return Refusal(code, f"{path} cannot be changed: {error.strerror or error}; nothing was done")
