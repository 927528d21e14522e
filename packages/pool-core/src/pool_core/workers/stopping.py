"""Ends workers: TERM, the grace, KILL, gone, and only then the memory counts as free."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator_core.contracts.pool import DeviceReport, WorkerStatus
from orchestrator_core.errors import Code
from pool_core.workers import process
from pool_core.workers.charge import Charge
from pool_core.workers.classify import Failure
from pool_core.workers.memory import has_come_back
from pool_core.workers.process import Host
from pool_core.workers.roster import Roster

__all__ = ["Stopper"]

_LOOKS: Final = 60


@dataclass(frozen=True, slots=True)
class Stopper:
    """Stops the workers of one host."""

    host: Host
    roster: Roster
    probe: Callable[[], list[DeviceReport]]
    on_change: Callable[[], None]
    look_every_s: float = 0.5

    async def stop(self, charge: Charge, grace_s: float) -> None:
        """Carry one order out; a second, shorter one ends the patience of the first."""
        if charge.stopping and not charge.has_ended:
            await charge.launched.wait()
            await process.kill_after(self.host, charge, grace_s=grace_s)
            return
        charge.stop_asked.set()
        if not charge.has_ended:
            charge.status = WorkerStatus.DRAINING
        self.on_change()
        await charge.launched.wait()
        if await process.end_process(self.host, charge, grace_s=grace_s):
            await self._see_memory_back(charge)
            charge.status = WorkerStatus.STOPPED
            if self.roster.remove(charge):
                self.host.ledger.remove(charge.record.id)
        else:
            charge.status = WorkerStatus.FAILED
            charge.failure = Failure(Code.TIMEOUT, "does not end, not even by KILL")
        charge.gone.set()
        self.on_change()

    async def _see_memory_back(self, charge: Charge) -> None:
        """Wait until a card has let go of the worker's memory, which can be long after its end."""
        pid, ids = charge.record.pid, set(charge.record.needed_bytes) - {"cpu"}
        if pid is None or not ids:
            return
        before = await asyncio.to_thread(self.probe)
        for _ in range(_LOOKS):
            await asyncio.sleep(self.look_every_s)
            now = await asyncio.to_thread(self.probe)
            if has_come_back(before, now, ids=ids, pid=pid):
                return
            before = now
