"""Keeps one worker up: starts it, follows it, and after its end does what the restart rule says.

Only a worker that a person started and that has served comes back by itself. What follows the end
of the orchestrator's own worker is the orchestrator's decision.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator_core.clock import Clock, rfc3339
from orchestrator_core.contracts.pool import Owner, WorkerStatus
from orchestrator_core.errors import Code, Refusal
from pool_core.workers import process
from pool_core.workers.charge import Charge
from pool_core.workers.classify import Failure
from pool_core.workers.restart import KEPT_ENDS, Again, End, Park, after_end
from pool_core.workers.roster import Roster
from pool_core.workers.survey import Surveyor
from pool_core.workers.tending import Tender

__all__ = ["Keeper"]

_PORT_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Keeper:
    """Runs the lives of one host's workers; in direct mode nobody is there to restart them."""

    tender: Tender
    roster: Roster
    surveyor: Surveyor
    clock: Clock
    roll: Callable[[], float]
    restarts: bool

    async def live(self, charge: Charge) -> None:
        """Start a planned worker and keep it up until it is stopped or given up."""
        await self._run_once(charge)
        await self._keep(charge)

    async def go_on(self, charge: Charge) -> None:
        """Keep up a worker that was taken over, running or ended."""
        await self.tender.follow(charge)
        await self._keep(charge)

    async def _keep(self, charge: Charge) -> None:
        while not charge.stopping and charge.is_ours:
            step = self._close(charge)
            if not isinstance(step, Again) or not await charge.rest(step.after_s):
                return
            await self._start_again(charge)
        # It ended late, after its stop was given up, or was never ours to restart.
        if charge.has_ended or not charge.is_ours:
            self._forget(charge)

    async def _run_once(self, charge: Charge) -> None:
        for _ in range(_PORT_TRIES):
            self.tender.on_change()
            await process.launch(self.tender.host, charge)
            self.tender.on_change()
            await self.tender.follow(charge)
            # Another program may take the port between our test and the engine's bind.
            lost_race = charge.failure is not None and charge.failure.code is Code.PORT_IN_USE
            port = self.roster.free_port()
            if charge.stopping or not lost_race or port is None:
                return
            charge.reset_for(port)

    async def _start_again(self, charge: Charge) -> None:
        port = self.roster.free_port(rather=charge.record.port)
        now_ms = self.clock.unix_ms()
        charge.reset_for(
            port or charge.record.port,
            incarnation=charge.record.incarnation + 1,
            started_at=rfc3339(now_ms),
            started_unix_ms=now_ms,
            failure_code=None,
            failure_message="",
        )
        refusal = await self._plan_again(charge)
        if refusal is not None:
            charge.failure = Failure(refusal.code, refusal.message)
            charge.launched.set()
            charge.exited.set()
            return
        await self._run_once(charge)

    async def _plan_again(self, charge: Charge) -> Refusal | None:
        order = charge.record.order
        sight = await self.surveyor.look(order)
        promises = self.roster.promises(besides=charge)
        prepared = self.surveyor.plan(order, sight, promises)
        if isinstance(prepared, Refusal):
            return prepared
        prepared.put_into(charge)
        return None

    def _close(self, charge: Charge) -> Again | Park | None:
        """Report a worker as ended, and say what comes next for it."""
        failure = charge.failure or Failure(Code.WORKER_LOST, "it ended")
        step = self._judge(charge, failure)
        charge.status = WorkerStatus.PARKED if isinstance(step, Park) else WorkerStatus.FAILED
        reason = f"{failure.message}; {step.reason}" if step else failure.message
        charge.failure = Failure(failure.code, reason)
        charge.memory_bytes = None
        self._note(charge, failure)
        self.tender.on_change()
        return step

    def _judge(self, charge: Charge, failure: Failure) -> Again | Park | None:
        record = charge.record
        if record.owner is not Owner.OPERATOR or not record.has_served:
            return None
        if record.parked:
            return Park("it stays down until a person starts it again")
        if record.failure_code is None or not record.ends:
            now_ms = self.clock.unix_ms()
            lived_s = max(0.0, (now_ms - record.started_unix_ms) / 1000)
            refused = charge.process is None and record.pid is None
            end = End(at_unix_ms=now_ms, lived_s=lived_s, reason=failure.message, refused=refused)
            charge.update(ends=(*record.ends, end)[-KEPT_ENDS:])
        if not self.restarts:
            return None
        return after_end(charge.record.ends, dice=self.roll())

    def _note(self, charge: Charge, failure: Failure) -> None:
        ledger = self.tender.host.ledger
        if charge.record.owner is not Owner.OPERATOR:
            ledger.remove(charge.record.id)
            return
        charge.update(
            parked=charge.status is WorkerStatus.PARKED,
            failure_code=failure.code,
            failure_message=failure.message,
        )
        # The worker's end is known whether or not the disk takes this note.
        with contextlib.suppress(OSError):
            ledger.write(charge.record)

    def _forget(self, charge: Charge) -> None:
        """Let go of a worker whose process is gone at last: its port and memory are free again."""
        charge.status = WorkerStatus.STOPPED
        if self.roster.remove(charge):
            self.tender.host.ledger.remove(charge.record.id)
        self.tender.on_change()
