"""One worker in our charge: what we know of it now, and the report that is made from it."""

import asyncio
import contextlib
import secrets
import subprocess
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from orchestrator_core.contracts.pool import WorkerReport, WorkerStatus
from orchestrator_core.platforms.port import ExitWatch, ProcessIdentity
from pool_core.workers.argv import HOST
from pool_core.workers.classify import Failure
from pool_core.workers.ledger import WorkerRecord
from pool_core.workers.memory import Promise

__all__ = ["ENDED", "PENDING", "Charge", "draw_key"]

ENDED: Final = frozenset({WorkerStatus.FAILED, WorkerStatus.STOPPED, WorkerStatus.PARKED})
_KEY_BYTES: Final = 32
PENDING: Final = frozenset({WorkerStatus.STARTING, WorkerStatus.LOADING})


def draw_key() -> str:
    """A key that opens one worker and nothing else."""
    return secrets.token_urlsafe(_KEY_BYTES)


class Charge:
    """The live state of one worker; only the supervisor's parts change it, on the loop."""

    def __init__(
        self, record: WorkerRecord, key: str, status: WorkerStatus = WorkerStatus.STARTING
    ) -> None:
        self.record = record
        self.key = key
        self.status = status
        self.failure: Failure | None = None
        self.memory_bytes: int | None = None
        self.slots_busy = 0
        # Resting: it has failed and will be started again by itself.
        self.resting = False
        self.model_path: Path | None = None
        self.model_bytes = record.spec.model.size_bytes or 0
        self.threads = 1
        self.engine_build: str | None = None
        # Launched: the start was tried. Exited: the process is gone. Gone: the stop is complete.
        self.stop_asked = asyncio.Event()
        self.launched = asyncio.Event()
        self.exited = asyncio.Event()
        self.gone = asyncio.Event()
        self.exit_code: int | None = None
        self.identity: ProcessIdentity | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self.watch: ExitWatch | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.record.port}"

    @property
    def stopping(self) -> bool:
        """True from the order to stop on."""
        return self.stop_asked.is_set()

    @property
    def stop_is_under_way(self) -> bool:
        """True while an order to stop is being carried out."""
        return self.stopping and not self.gone.is_set()

    @property
    def has_ended(self) -> bool:
        """True when no process is left to watch."""
        return self.status in ENDED

    @property
    def is_ours(self) -> bool:
        """True unless its process has shown that it is not the worker we know."""
        return self.status is not WorkerStatus.UNCLAIMED

    def promise(self) -> Promise | None:
        """The memory that is promised to it; an ended worker needs none."""
        if self.has_ended:
            return None
        return Promise(self.record.needed_bytes, loaded=self.status not in PENDING)

    async def rest(self, rest_s: float) -> bool:
        """Wait before the next start; False when it was told to stop meanwhile."""
        self.resting = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stop_asked.wait(), rest_s)
        self.resting = False
        return not self.stopping

    def process_ended(self) -> None:
        """Take note of the end; a child of ours is reaped, which tells its exit code."""
        if self.process is not None:
            self.exit_code = self.process.poll()
        self.slots_busy = 0
        self.exited.set()

    def update(self, **changes: object) -> None:
        """Replace facts of the record."""
        self.record = self.record.model_copy(update=changes)

    def reset_for(self, port: int, **changes: object) -> None:
        """Make ready for another start of the same worker."""
        self.update(port=port, pid=None, start_time=None, boot_id=None, ready_at=None, **changes)
        self.failure, self.exit_code, self.memory_bytes = None, None, None
        self.identity, self.process, self.watch = None, None, None
        self.launched.clear()
        self.exited.clear()
        self.status = WorkerStatus.STARTING

    def report(self) -> WorkerReport:
        """What the pool says about this worker, with its key."""
        record = self.record
        return WorkerReport(
            id=record.id,
            name=record.name,
            incarnation=record.incarnation,
            generation=record.generation,
            owner=record.owner,
            status=self.status,
            model=record.spec.model.model_id,
            task=record.spec.task,
            backend=record.spec.backend,
            engine_version=record.engine_version,
            spec=record.spec,
            pid=record.pid,
            port=record.port or None,
            url=self.url if record.port else None,
            key=SecretStr(self.key) if self.key else None,
            slots_total=record.spec.parallel or 1,
            slots_busy=self.slots_busy,
            started_at=record.started_at,
            ready_at=record.ready_at,
            memory_bytes=self.memory_bytes,
            error_code=self.failure.code.value if self.failure else None,
            error_message=self.failure.message if self.failure else None,
        )
