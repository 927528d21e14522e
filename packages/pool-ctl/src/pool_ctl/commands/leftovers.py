"""Workers whose pool-managerd is gone: counts them, and stops them by the pool's own records.

While this runs it holds the pool's lock, so that no daemon starts beside it.
"""

import asyncio
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from orchestrator_core.clock import SystemClock
from orchestrator_core.errors import Code, Refusal, error_for
from orchestrator_core.idgen import IdSource
from orchestrator_core.platforms import files
from pool_core.catalog.builtin import BuiltinModels
from pool_core.workers.ledger import WorkerRecord
from pool_core.workers.supervisor import Supervisor
from pool_ctl.settings import CliSettings

__all__ = ["count_workers", "stop_workers"]

_GRACE_S: Final = 10.0


def count_workers(settings: CliSettings) -> int:
    """How many workers of this installation live, whether or not a daemon watches them."""
    # The ledger tidies up while it loads; beside a running daemon only reading is allowed.
    records = [_read(path) for path in settings.layout.worker_records.glob("*.json")]
    identities = [record.identity() for record in records if record is not None]
    alive = settings.daemons().platform.is_alive
    return sum(identity is not None and alive(identity) for identity in identities)


def stop_workers(settings: CliSettings) -> int:
    """Stop every worker that the pool's records name; tells how many."""
    folder = settings.layout.pool_folder
    if not folder.is_dir():
        return 0
    lock = files.FileLock(settings.layout.pool_lock)
    if not lock.try_acquire():
        text = f"process {lock.holder_pid()} holds {settings.layout.pool_lock}: try again"
        raise error_for(Refusal(Code.DATA_IN_USE, text))
    try:
        return asyncio.run(_stop_all(settings))
    finally:
        lock.release()


async def _stop_all(settings: CliSettings) -> int:
    supervisor = Supervisor(
        folder=settings.layout.pool_folder,
        models=BuiltinModels(),
        platform=settings.daemons().platform,
        clock=SystemClock(),
        ids=IdSource(SystemClock()),
        instance="",
        worker_program=settings.layout.pool_folder,
        host_env={},
        reserved_ports=frozenset(),
        on_change=lambda: None,
    )
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        ended = await supervisor.stop_all(_GRACE_S)
        running.cancel()
    return ended


def _read(path: Path) -> WorkerRecord | None:
    try:
        return WorkerRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
