"""Follows one worker from its start to its end: ready or failed, then running, then gone.

The supervisor runs one of these per worker in its task group. What it sees is written into the
charge; on_change tells the daemon that the reports are new.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from orchestrator_core.clock import Clock, rfc3339
from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.errors import Code
from pool_core.workers import process
from pool_core.workers.charge import Charge
from pool_core.workers.classify import Failure, classify
from pool_core.workers.process import Host
from pool_core.workers.readiness import Readiness, Stage, Target, check

__all__ = ["Tender", "engine_version"]

_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.5
_ADOPTED_ANSWER_S: Final = 2.0
_FAILED_START_GRACE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Tender:
    """Watches over workers of one host."""

    host: Host
    clock: Clock
    load_timeout_s: float
    on_change: Callable[[], None]

    async def recognise(self, charge: Charge) -> None:
        """Ask an adopted worker once, so that a ready one is reported as ready at once."""
        result = await check(self._target(charge), answer_s=_ADOPTED_ANSWER_S)
        if result.stage is Stage.READY:
            await self._mark_ready(charge)

    async def follow(self, charge: Charge) -> None:
        """Bring a started worker to ready, wait for its end and say why it ended."""
        if charge.status is not WorkerStatus.READY:
            await self._await_ready(charge)
        await charge.exited.wait()
        if charge.stopping:
            return
        if charge.failure is None:
            charge.failure = await asyncio.to_thread(self._judge, charge)

    def close(self, charge: Charge) -> None:
        """Report a worker as failed and forget what only a living one needs."""
        charge.status = WorkerStatus.FAILED
        charge.memory_bytes = None
        self.host.ledger.remove(charge.record.id)
        self.on_change()

    async def _await_ready(self, charge: Charge) -> None:
        deadline_s = self.clock.monotonic_s() + self.load_timeout_s
        pause_s = _FIRST_PAUSE_S
        target = self._target(charge)
        while not charge.exited.is_set() and charge.failure is None:
            result = await check(target)
            if charge.exited.is_set() or charge.stopping:
                return
            if result.stage is Stage.READY:
                await self._mark_ready(charge)
                return
            # One that was ready before has loaded: only silence or its end is left to wait for.
            late = not target.was_ready and self.clock.monotonic_s() >= deadline_s
            self._note(charge, result, late=late)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(charge.exited.wait(), pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
        await process.end_process(self.host, charge, grace_s=_FAILED_START_GRACE_S)

    def _note(self, charge: Charge, result: Readiness, *, late: bool) -> None:
        if result.stage is Stage.WRONG:
            charge.failure = Failure(Code.WORKER_START_FAILED, result.reason)
        elif late:
            state = f": {result.reason}" if result.reason else ""
            reason = f"not ready within {self.load_timeout_s:.0f} s ({result.stage.value}{state})"
            charge.failure = Failure(Code.WORKER_START_FAILED, reason)
        elif result.stage is Stage.LOADING and charge.status is WorkerStatus.STARTING:
            charge.status = WorkerStatus.LOADING
            self.on_change()

    async def _mark_ready(self, charge: Charge) -> None:
        record = charge.record
        charge.memory_bytes = process.resident_bytes(charge)
        charge.update(
            ready_at=record.ready_at or rfc3339(self.clock.unix_ms()),
            engine_version=record.engine_version or engine_version(self._words(charge)),
        )
        # Whoever adopts the worker must know as much as whoever was told that it is ready; but it
        # answers whether or not the disk takes this note, and its identity is on the disk already.
        with contextlib.suppress(OSError):
            await asyncio.to_thread(self.host.ledger.write, charge.record)
        if charge.exited.is_set() or charge.stopping:
            return
        charge.status = WorkerStatus.READY
        self.on_change()

    def _judge(self, charge: Charge) -> Failure:
        was_ready = charge.record.ready_at is not None
        return classify(self._words(charge), charge.exit_code, was_ready=was_ready)

    def _words(self, charge: Charge) -> list[str]:
        return self.host.ledger.log_tail(charge.record.id, charge.record.log_offset)

    def _target(self, charge: Charge) -> Target:
        record = charge.record
        return Target(
            url=charge.url,
            key=charge.key,
            model=record.spec.model.model_id,
            task=record.spec.task,
            is_ours=partial(process.owns, self.host, charge),
            was_ready=record.ready_at is not None,
        )


def engine_version(lines: Sequence[str]) -> str | None:
    """The version that a worker announced when it began to listen."""
    for line in reversed(lines):
        if line.startswith('{"event": "listening"'):
            try:
                version: object = json.loads(line).get("version")
            except ValueError:
                return None
            return version if isinstance(version, str) else None
    return None
