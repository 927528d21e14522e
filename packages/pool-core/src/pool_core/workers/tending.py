"""Follows one worker from its start to its end: ready or failed, then watched, then gone.

The supervisor runs one of these per worker in its task group. What it sees is written into the
charge; on_change tells the daemon that the reports are new.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from orchestrator_core.clock import Clock, rfc3339
from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.errors import Code
from pool_core.workers import process
from pool_core.workers.charge import PENDING, Charge
from pool_core.workers.classify import Failure, classify
from pool_core.workers.loading import LoadPatience, LoadWatch
from pool_core.workers.process import Host
from pool_core.workers.readiness import Readiness, Stage, Target, check
from pool_core.workers.vital_signs import read_counters, read_signs, resident_bytes
from pool_core.workers.watchdog import StallWatch

__all__ = ["Patience", "Tender", "engine_version"]

_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.5
_ADOPTED_ANSWER_S: Final = 2.0
_RECOGNITION_S: Final = 10.0
_FAILED_START_GRACE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what is waited for, and how often a worker is looked at; tests shorten it.

    Asking an engine for its counters more often than once a second keeps it from noticing that a
    client has left, so look_every_s stays above that.
    """

    load: LoadPatience = field(default_factory=LoadPatience)
    sample_every_s: float = 1.0
    look_every_s: float = 2.0


@dataclass(frozen=True, slots=True)
class Tender:
    """Watches over workers of one host."""

    host: Host
    clock: Clock
    patience: Patience
    on_change: Callable[[], None]

    async def recognise(self, charge: Charge) -> None:
        """Ask an adopted worker once, so that a ready one is reported as ready at once."""
        if not charge.is_ours:
            return
        try:
            # Its parts are bounded one by one, and a stranger may send its answer drop by drop.
            async with asyncio.timeout(_RECOGNITION_S):
                result = await check(self._target(charge), answer_s=_ADOPTED_ANSWER_S)
        except TimeoutError:
            return
        if result.stage is Stage.READY:
            self._mark_ready(charge)
        elif result.stage is Stage.STRANGER:
            self._disown(charge, result)

    async def follow(self, charge: Charge) -> None:
        """Bring a started worker to ready, watch it to its end and say why it ended."""
        coming = charge.status in PENDING
        if coming and not charge.exited.is_set():
            await _first_of(
                self._ask_until_ready(charge), self._watch_load(charge), charge.exited.wait()
            )
        if charge.status is WorkerStatus.READY:
            await _first_of(self._watch_work(charge), charge.exited.wait())
        if charge.failure is not None and charge.is_ours and not charge.stopping:
            if charge.status is WorkerStatus.READY:
                charge.status = WorkerStatus.DRAINING
                self.on_change()
            await process.end_process(self.host, charge, grace_s=_FAILED_START_GRACE_S)
        await charge.exited.wait()
        if charge.failure is None and not charge.stopping:
            charge.failure = await asyncio.to_thread(self._judge, charge)

    async def _ask_until_ready(self, charge: Charge) -> None:
        pause_s = _FIRST_PAUSE_S
        target = self._target(charge)
        while True:
            result = await check(target)
            if charge.exited.is_set() or charge.stopping:
                # What it says while it is being ended is no word on whether it works.
                await charge.exited.wait()
            elif result.stage is Stage.READY:
                return self._mark_ready(charge)
            elif result.stage is Stage.STRANGER and charge.process is None:
                return self._disown(charge, result)
            elif result.stage in (Stage.WRONG, Stage.STRANGER):
                charge.failure = Failure(Code.WORKER_START_FAILED, result.reason)
                return None
            elif result.stage is Stage.LOADING and charge.status is WorkerStatus.STARTING:
                charge.status = WorkerStatus.LOADING
                self.on_change()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)

    async def _watch_load(self, charge: Charge) -> None:
        """Give the load up when nothing moves; one that was ready before has the spec's stall_s."""
        began_s = self.clock.monotonic_s()
        watch = LoadWatch(self.patience.load, model_bytes=charge.model_bytes, now_s=began_s)
        log_path = self.host.ledger.log_path(charge.record.id)
        while True:
            await asyncio.sleep(self.patience.sample_every_s)
            now_s = self.clock.monotonic_s()
            if charge.record.ready_at is None:
                pid = charge.record.pid or 0
                signs = await asyncio.to_thread(read_signs, pid, log_path)
                reason, code = watch.observe(signs, now_s=now_s), Code.WORKER_START_FAILED
            else:
                reason, code = _silence(charge, now_s - began_s), Code.WORKER_LOST
            if reason is not None:
                charge.failure = Failure(code, reason)
                return

    async def _watch_work(self, charge: Charge) -> None:
        watch = StallWatch(charge.record.spec.stall_s, now_s=self.clock.monotonic_s())
        while True:
            await asyncio.sleep(self.patience.look_every_s)
            counters = await read_counters(charge.url, charge.key)
            if counters is not None:
                charge.slots_busy = min(counters.busy, charge.record.spec.parallel or 1)
            charge.memory_bytes = resident_bytes(charge.record.pid)
            reason = watch.observe(counters, now_s=self.clock.monotonic_s())
            if reason is not None:
                charge.failure = Failure(Code.WORKER_LOST, reason)
                return

    def _mark_ready(self, charge: Charge) -> None:
        record = charge.record
        charge.memory_bytes = resident_bytes(record.pid)
        charge.update(
            ready_at=record.ready_at or rfc3339(self.clock.unix_ms()),
            engine_version=record.engine_version or engine_version(self._words(charge)),
        )
        # Whoever adopts the worker must know as much as whoever was told that it is ready; but it
        # answers whether or not the disk takes this note. Written on the loop: a thread could write
        # after a stop has removed the record, and the next daemon would bring the worker back.
        if charge.exited.is_set() or charge.stopping:
            return
        with contextlib.suppress(OSError):
            self.host.ledger.write(charge.record)
        charge.status = WorkerStatus.READY
        self.on_change()

    def _disown(self, charge: Charge, result: Readiness) -> None:
        """Leave a process alone that does not prove to be our worker; its port stays taken."""
        charge.status = WorkerStatus.UNCLAIMED
        reason = f"it {result.reason}, so it cannot be proven to be ours"
        charge.failure = Failure(Code.WORKER_LOST, reason)
        self.on_change()

    def _judge(self, charge: Charge) -> Failure:
        was_ready = charge.record.ready_at is not None
        words = self._words(charge)
        return classify(words, charge.exit_code, was_ready=was_ready, engine=charge.engine_build)

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


def _silence(charge: Charge, silent_s: float) -> str | None:
    stall_s = charge.record.spec.stall_s
    return f"wedged: it has not answered for {silent_s:.0f} s" if silent_s >= stall_s else None


async def _first_of(*acts: Coroutine[object, object, object]) -> None:
    """Run acts side by side until one of them ends, then end the others."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(act) for act in acts]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


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
