"""Keeps this host's workers: starts and stops them as ordered and takes over those left running.

A shell: planning, roster and reconcile decide, process acts, keeping and tending watch. Every task
lives in the one task group of run(); when that ends the workers stay, for the next to adopt.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from orchestrator_core.clock import Clock, rfc3339
from orchestrator_core.contracts.pool import (
    DeviceReport,
    Owner,
    SpawnRequest,
    WantedSet,
    WantedWorker,
    WorkerReport,
    WorkerStatus,
)
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.idgen import IdSource
from orchestrator_core.ids import PREFIX_WORKER, is_id
from orchestrator_core.platforms import detached
from orchestrator_core.platforms.port import Platform
from pool_core.workers.adoption import adopt
from pool_core.workers.charge import Charge, draw_key
from pool_core.workers.classify import Failure
from pool_core.workers.host_picture import left_over
from pool_core.workers.keeping import Keeper
from pool_core.workers.ledger import Ledger, WorkerRecord
from pool_core.workers.log_cutting import keep_logs_small
from pool_core.workers.process import Host
from pool_core.workers.reconcile import Start, Stop, reconcile
from pool_core.workers.roster import Place, Roster
from pool_core.workers.stopping import Stopper
from pool_core.workers.survey import Models, Surveyor
from pool_core.workers.tending import Patience, Tender

__all__ = ["Supervisor"]

_UNWANTED_GRACE_S: Final = 10.0


class Supervisor:
    """Owns every worker process of one pool."""

    def __init__(
        self,
        *,
        folder: Path,
        models: Models,
        platform: Platform,
        clock: Clock,
        ids: IdSource,
        instance: str,
        worker_program: Path,
        host_env: Mapping[str, str],
        reserved_ports: frozenset[int],
        on_change: Callable[[], None],
        probe: Callable[[], list[DeviceReport]],
        roll: Callable[[], float],
        restarts: bool = True,
        patience: Patience | None = None,
    ) -> None:
        self._clock = clock
        self._ids = ids
        self._on_change = on_change
        self._ledger = Ledger(folder)
        self._host = Host(platform, self._ledger, worker_program, instance, host_env)
        self._tender = Tender(self._host, clock, patience or Patience(), on_change)
        self._roster = Roster(reserved_ports)
        self._surveyor = Surveyor(models, probe)
        self._keeper = Keeper(
            tender=self._tender,
            roster=self._roster,
            surveyor=self._surveyor,
            clock=clock,
            roll=roll,
            restarts=restarts,
        )
        self._stopper = Stopper(self._host, self._roster, probe, on_change)
        self._group: asyncio.TaskGroup | None = None
        self._revision = -1
        self._wanted: WantedSet | None = None
        self.adopted = asyncio.Event()
        # Settled: adopted, or ended before that; from then on orders are answered.
        self._settled = asyncio.Event()

    async def run(self) -> None:
        """Adopt what an earlier daemon left, then own all tasks until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._work(group)
        finally:
            for charge in self._roster:
                if charge.watch is not None:
                    charge.watch.close()
                if charge.process is not None:
                    detached.let_go(charge.process)
                # Nobody goes on with a stop or a start now: let those who wait for it leave.
                charge.launched.set()
                charge.gone.set()

    async def _work(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        try:
            await self._adopt(group)
            self.adopted.set()
            self._settled.set()
            self._on_change()
            await keep_logs_small(self._ledger.logs_folder, self._is_running)
        finally:
            # A group that comes to its end takes no further task.
            self._group = None
            self._settled.set()

    async def spawn(self, order: SpawnRequest, owner: Owner) -> WorkerReport | Refusal:
        """Start a worker and return at once; repeating an order starts nothing."""
        await self._settled.wait()
        self._revision = max(self._revision, order.revision)
        worker_id = order.worker_id or self._ids.worker()
        wanted = WantedWorker(worker_id=worker_id, generation=order.generation, spec=order.spec)
        charge = await self._start(wanted, owner, order.revision)
        if isinstance(charge, Refusal):
            return charge
        await charge.launched.wait()
        return charge.report()

    def left_over(self, devices: Sequence[DeviceReport]) -> list[DeviceReport]:
        """The devices with as much free memory as a new worker would find there."""
        return left_over(devices, self._roster.promises())

    async def stop(self, worker: str, *, grace_s: float) -> WorkerReport | Refusal:
        """Stop a worker by id or name; returns when it is gone."""
        await self._settled.wait()
        charge = self._roster.find(worker)
        if charge is None:
            return Refusal(Code.WORKER_NOT_FOUND, f"no worker of this host is named {worker}")
        if not charge.is_ours:
            return _unclaimed(charge)
        if not self._begin_stop(charge, grace_s):
            return _stopping()
        await charge.gone.wait()
        if charge.status is WorkerStatus.FAILED:
            return Refusal(Code.TIMEOUT, f"{charge.record.name} does not end, not even by KILL")
        return charge.report() if charge.status is WorkerStatus.STOPPED else _stopping()

    async def stop_all(self, grace_s: float) -> int:
        """Stop every worker, an operator's too; returns how many processes were ended."""
        await self._settled.wait()
        charges = [charge for charge in self._roster if charge.is_ours]
        running = [charge for charge in charges if not charge.has_ended]
        for charge in [charge for charge in charges if self._begin_stop(charge, grace_s)]:
            await charge.gone.wait()
        return len(running)

    def apply_wanted(self, wanted: WantedSet) -> None:
        """Start what is missing and stop what is not wanted; an older revision is ignored."""
        if self._group is None or not self.adopted.is_set() or wanted.revision < self._revision:
            return
        self._revision = wanted.revision
        self._wanted = wanted
        ended = self._roster.ended_generations()
        for action in reconcile(wanted.workers, self._roster.observed(), ended):
            match action:
                case Start(worker):
                    self._group.create_task(self._start_wanted(worker, wanted.revision))
                case Stop(worker_id):
                    charge = self._roster.find(worker_id)
                    if charge is not None and charge.is_ours and not charge.stop_is_under_way:
                        self._begin_stop(charge, _UNWANTED_GRACE_S)

    def new_session(self) -> None:
        """Forget the highest revision: a new session of the orchestrator counts anew."""
        self._revision, self._wanted = -1, None

    def reports(self) -> list[WorkerReport]:
        """All workers, with their keys."""
        return [charge.report() for charge in self._roster]

    def log_path(self, worker: str) -> Path | None:
        """The log of a worker by id or name, of an ended one by its id."""
        charge = self._roster.find(worker)
        if charge is None and not is_id(PREFIX_WORKER, worker):
            return None
        path = self._ledger.log_path(charge.record.id if charge else worker)
        return path if path.is_file() else None

    def _is_running(self, worker_id: str) -> bool:
        charge = self._roster.find(worker_id)
        return charge is not None and not charge.exited.is_set()

    async def _adopt(self, group: asyncio.TaskGroup) -> None:
        await asyncio.to_thread(self._ledger.prepare)
        found = adopt(self._host)
        async with asyncio.TaskGroup() as asking:
            for charge in found.running:
                self._roster.add(charge)
                asking.create_task(self._tender.recognise(charge))
        # Nobody is dropped here: which of them come back is only found out when they go on.
        for charge in found.ended:
            self._roster.add(charge)
        for charge in (*found.running, *found.ended):
            group.create_task(self._keeper.go_on(charge))

    async def _start(self, order: WantedWorker, owner: Owner, revision: int) -> Charge | Refusal:
        if not is_id(PREFIX_WORKER, order.worker_id):
            return Refusal(Code.INVALID_REQUEST, "worker_id: not a worker id")
        sight = await self._surveyor.look(order.spec)
        # From here on nothing is awaited until the worker has its place and its memory.
        if owner is Owner.ORCHESTRATOR and self._is_withdrawn(order.worker_id, revision):
            return _withdrawn(order.worker_id)
        known = self._roster.settle(order.worker_id, order.generation, order.spec)
        if known is not None:
            return known
        prepared = self._surveyor.plan(order.spec, sight, self._roster.promises())
        if isinstance(prepared, Refusal):
            return prepared
        if self._group is None:
            return _stopping()
        place = self._roster.place(order.worker_id, order.spec, prepared.plan.index)
        if isinstance(place, Refusal):
            return place
        charge = Charge(self._record(order, owner, place), draw_key())
        prepared.put_into(charge)
        self._take_in(charge)
        self._group.create_task(self._keeper.live(charge))
        return charge

    def _take_in(self, charge: Charge) -> None:
        self._roster.add(charge)
        for dropped in self._roster.drop_oldest_failures():
            self._ledger.remove(dropped.record.id)

    async def _start_wanted(self, wanted: WantedWorker, revision: int) -> None:
        charge = await self._start(wanted, Owner.ORCHESTRATOR, revision)
        if not isinstance(charge, Refusal) or self._is_withdrawn(wanted.worker_id, revision):
            return
        if is_id(PREFIX_WORKER, wanted.worker_id):
            self._show_refused(wanted, charge)

    def _is_withdrawn(self, worker_id: str, revision: int) -> bool:
        """Tell whether a newer set than the order's, come while we looked, wants it no more."""
        newest = self._wanted
        if newest is None or newest.revision <= revision:
            return False
        return all(worker.worker_id != worker_id for worker in newest.workers)

    def _show_refused(self, wanted: WantedWorker, refusal: Refusal) -> None:
        """Report an order that cannot be carried out as a failed worker, until it is withdrawn."""
        if self._roster.settle(wanted.worker_id, wanted.generation, wanted.spec) is not None:
            return
        place = Place(name=wanted.worker_id, port=0, incarnation=1)
        record = self._record(wanted, Owner.ORCHESTRATOR, place)
        charge = Charge(record, "", WorkerStatus.FAILED)
        charge.failure = Failure(refusal.code, refusal.message)
        charge.launched.set()
        charge.exited.set()
        self._take_in(charge)
        self._on_change()

    def _record(self, order: WantedWorker, owner: Owner, place: Place) -> WorkerRecord:
        now_ms = self._clock.unix_ms()
        return WorkerRecord(
            id=order.worker_id,
            name=place.name,
            owner=owner,
            generation=order.generation,
            incarnation=place.incarnation,
            order=order.spec,
            spec=order.spec,
            port=place.port,
            started_at=rfc3339(now_ms),
            started_unix_ms=now_ms,
        )

    def _begin_stop(self, charge: Charge, grace_s: float) -> bool:
        if self._group is None:
            return False
        charge.gone.clear()
        self._group.create_task(self._stopper.stop(charge, grace_s))
        return True


def _stopping() -> Refusal:
    return Refusal(Code.DRAINING, "the pool is stopping")


def _withdrawn(worker_id: str) -> Refusal:
    return Refusal(Code.STALE_GENERATION, f"{worker_id} is not wanted any more")


def _unclaimed(charge: Charge) -> Refusal:
    pid, why = charge.record.pid, charge.failure.message if charge.failure else ""
    return Refusal(
        Code.CONFLICT,
        f"{charge.record.name} (pid {pid}) is left alone: {why}; kill {pid} ends it",
        {"pid": pid},
    )
