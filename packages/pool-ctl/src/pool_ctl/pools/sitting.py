"""A supervisor that lives for one act of a command and leaves every worker running.

Whoever takes a sitting holds pool.lock meanwhile; each adopts what the one before has left.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from orchestrator_core.contracts.pool import DeviceReport, WorkerReport, WorkerStatus
from pool_core.devices.inventory import open_inventory
from pool_core.workers.charge import PENDING
from pool_core.workers.installation import Installation, open_supervisor
from pool_core.workers.supervisor import Supervisor
from pool_core.workers.survey import Models

__all__ = ["Sitting", "take"]

T = TypeVar("T")

_VERDICT_S: Final = 5.0


class Sitting:
    """What an act may use: the supervisor, and a way to wait for what it is about to find out."""

    def __init__(
        self, here: Installation, models: Models, probe: Callable[[], list[DeviceReport]]
    ) -> None:
        self._news = asyncio.Event()
        self.supervisor: Supervisor = open_supervisor(
            here, models=models, probe=probe, on_change=self._news.set, restarts=False
        )

    async def all_explained(self) -> list[WorkerReport]:
        """Every worker; why one has ended is read from its log a moment after it was found ended."""
        await self._until(lambda: all(map(_is_explained, self.supervisor.reports())))
        return self.supervisor.reports()

    async def verdict(self, worker_id: str) -> WorkerReport | None:
        """A worker once there is more to say than that it starts, or after a while."""
        await self._until(lambda: _has_verdict(self._find(worker_id)))
        return self._find(worker_id)

    async def _until(self, is_true: Callable[[], bool]) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_VERDICT_S):
                while not is_true():
                    self._news.clear()
                    await self._news.wait()

    def _find(self, worker_id: str) -> WorkerReport | None:
        return next((it for it in self.supervisor.reports() if it.id == worker_id), None)


def take(here: Installation, models: Models, act: Callable[[Sitting], Awaitable[T]]) -> T:
    """Adopt the workers, carry out one act and leave."""
    with contextlib.closing(open_inventory()) as inventory:
        try:
            return asyncio.run(_run(Sitting(here, models, inventory.look), act))
        except ExceptionGroup as group:
            raise _innermost(group) from group


async def _run(sitting: Sitting, act: Callable[[Sitting], Awaitable[T]]) -> T:
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(sitting.supervisor.run())
        try:
            await sitting.supervisor.adopted.wait()
            return await act(sitting)
        finally:
            running.cancel()


def _innermost(group: BaseExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _innermost(first) if isinstance(first, BaseExceptionGroup) else first


def _has_verdict(report: WorkerReport | None) -> bool:
    return report is None or (report.status not in PENDING and _is_explained(report))


def _is_explained(report: WorkerReport) -> bool:
    return report.status is not WorkerStatus.FAILED or report.error_code is not None
