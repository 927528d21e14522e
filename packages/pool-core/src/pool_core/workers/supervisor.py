"""Keeps this host's workers: starts and stops them as ordered and takes over those left running.

A shell: spec, roster and reconcile decide, process acts, tending watches. Every task lives in the
one task group of run(); when that ends the workers stay, for the next daemon to adopt.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Protocol

from orchestrator_core.clock import Clock, rfc3339
from orchestrator_core.contracts.pool import (
    DeviceReport,
    ModelFile,
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
from pool_core.devices.cpu import usable_cpus
from pool_core.devices.inventory import probe_devices
from pool_core.workers import process
from pool_core.workers.adoption import adopt
from pool_core.workers.charge import Charge
from pool_core.workers.classify import Failure
from pool_core.workers.ledger import Ledger, WorkerRecord
from pool_core.workers.process import Host
from pool_core.workers.reconcile import Start, Stop, reconcile
from pool_core.workers.roster import Place, Roster
from pool_core.workers.spec import check_spec, device_index
from pool_core.workers.tending import Tender

__all__ = ["Models", "Supervisor"]

_LOAD_TIMEOUT_S: Final = 120.0
_UNWANTED_GRACE_S: Final = 10.0
_PORT_TRIES: Final = 3
_KEY_BYTES: Final = 32


class Models(Protocol):
    """Where model files come from."""

    def locate(self, model: ModelFile) -> Path | Refusal:
        """The checked file of a model."""
        ...


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
        probe: Callable[[], list[DeviceReport]] = probe_devices,
        load_timeout_s: float = _LOAD_TIMEOUT_S,
    ) -> None:
        self._models = models
        self._clock = clock
        self._ids = ids
        self._on_change = on_change
        self._probe = probe
        self._ledger = Ledger(folder)
        self._host = Host(platform, self._ledger, worker_program, instance, host_env)
        self._tender = Tender(self._host, clock, load_timeout_s, on_change)
        self._roster = Roster(reserved_ports)
        self._group: asyncio.TaskGroup | None = None
        self._revision = -1
        self.adopted = asyncio.Event()

    async def run(self) -> None:
        """Adopt what an earlier daemon left, then own all tasks until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                await self._adopt(group)
                self.adopted.set()
                self._on_change()
                await asyncio.Event().wait()
        finally:
            self._group = None
            for charge in self._roster:
                if charge.watch is not None:
                    charge.watch.close()
                if charge.process is not None:
                    detached.let_go(charge.process)
                # Nobody goes on with a stop or a start now: let those who wait for it leave.
                charge.launched.set()
                charge.gone.set()

    async def spawn(self, order: SpawnRequest, owner: Owner) -> WorkerReport | Refusal:
        """Start a worker and return at once; repeating an order starts nothing."""
        await self.adopted.wait()
        self._revision = max(self._revision, order.revision)
        worker_id = order.worker_id or self._ids.worker()
        wanted = WantedWorker(worker_id=worker_id, generation=order.generation, spec=order.spec)
        charge = await self._start(wanted, owner)
        if isinstance(charge, Refusal):
            return charge
        await charge.launched.wait()
        return charge.report()

    async def stop(self, worker: str, *, grace_s: float) -> WorkerReport | Refusal:
        """Stop a worker by id or name; returns when it is gone."""
        await self.adopted.wait()
        charge = self._roster.find(worker)
        if charge is None:
            return Refusal(Code.WORKER_NOT_FOUND, f"no worker of this host is named {worker}")
        if not self._begin_stop(charge, grace_s):
            return _stopping()
        await charge.gone.wait()
        if charge.status is WorkerStatus.FAILED:
            return Refusal(Code.TIMEOUT, f"{charge.record.name} does not end, not even by KILL")
        return charge.report()

    async def stop_all(self, grace_s: float) -> int:
        """Stop every worker, an operator's too; returns how many processes were ended."""
        await self.adopted.wait()
        charges = list(self._roster)
        running = [charge for charge in charges if not charge.has_ended]
        for charge in [charge for charge in charges if self._begin_stop(charge, grace_s)]:
            await charge.gone.wait()
        return len(running)

    def apply_wanted(self, wanted: WantedSet) -> None:
        """Start what is missing and stop what is not wanted; an older revision is ignored."""
        if self._group is None or not self.adopted.is_set() or wanted.revision < self._revision:
            return
        self._revision = wanted.revision
        ended = self._roster.ended_generations()
        for action in reconcile(wanted.workers, self._roster.observed(), ended):
            match action:
                case Start(worker):
                    self._group.create_task(self._start_wanted(worker))
                case Stop(worker_id):
                    charge = self._roster.find(worker_id)
                    if charge is not None:
                        self._begin_stop(charge, _UNWANTED_GRACE_S)

    def new_session(self) -> None:
        """Forget the highest revision: a new session of the orchestrator counts anew."""
        self._revision = -1

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

    async def _adopt(self, group: asyncio.TaskGroup) -> None:
        await asyncio.to_thread(self._ledger.prepare)
        found = adopt(self._host)
        async with asyncio.TaskGroup() as asking:
            for charge in found.workers:
                self._roster.add(charge)
                asking.create_task(self._tender.recognise(charge))
        for charge in found.workers:
            group.create_task(self._tend(charge))
        for charge in found.orphans:
            # Without its key nobody can use it; with its mark it is ours to end.
            self._roster.add(charge)
            group.create_task(self._tend(charge))
            self._begin_stop(charge, _UNWANTED_GRACE_S)

    async def _start(self, order: WantedWorker, owner: Owner) -> Charge | Refusal:
        worker_id, spec = order.worker_id, order.spec
        if not is_id(PREFIX_WORKER, worker_id):
            return Refusal(Code.INVALID_REQUEST, "worker_id: not a worker id")
        devices = await asyncio.to_thread(self._probe)
        path = check_spec(spec, devices, usable_cpus()) or await asyncio.to_thread(
            self._models.locate, spec.model
        )
        # From here on nothing is awaited until the worker has its place.
        known = self._roster.settle(worker_id, order.generation, spec)
        if known is not None:
            return known
        if isinstance(path, Refusal):
            return path
        if self._group is None:
            return _stopping()
        place = self._roster.place(worker_id, spec, device_index(spec, devices))
        if isinstance(place, Refusal):
            return place
        record = self._record(order, owner, place)
        charge = Charge(record, secrets.token_urlsafe(_KEY_BYTES))
        self._roster.add(charge)
        cores = next((device.cores for device in devices if device.cores), 1) or 1
        self._group.create_task(self._live(charge, path, cores))
        return charge

    async def _start_wanted(self, wanted: WantedWorker) -> None:
        charge = await self._start(wanted, Owner.ORCHESTRATOR)
        if isinstance(charge, Refusal) and is_id(PREFIX_WORKER, wanted.worker_id):
            self._show_refused(wanted, charge)

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
        self._roster.add(charge)
        self._on_change()

    def _record(self, order: WantedWorker, owner: Owner, place: Place) -> WorkerRecord:
        return WorkerRecord(
            id=order.worker_id,
            name=place.name,
            owner=owner,
            generation=order.generation,
            incarnation=place.incarnation,
            spec=order.spec,
            port=place.port,
            started_at=rfc3339(self._clock.unix_ms()),
        )

    async def _live(self, charge: Charge, model_path: Path, cores: int) -> None:
        for _ in range(_PORT_TRIES):
            self._on_change()
            await process.launch(self._host, charge, model_path, cores)
            self._on_change()
            await self._tender.follow(charge)
            # Another program may take the port between our test and the engine's bind.
            port = self._roster.free_port()
            lost_race = charge.failure is not None and charge.failure.code is Code.PORT_IN_USE
            if charge.stopping or not lost_race or port is None:
                break
            charge.reset_for(port)
        self._finish(charge)

    async def _tend(self, charge: Charge) -> None:
        await self._tender.follow(charge)
        self._finish(charge)

    def _finish(self, charge: Charge) -> None:
        if not charge.stopping:
            self._tender.close(charge)

    def _begin_stop(self, charge: Charge, grace_s: float) -> bool:
        if self._group is None:
            return False
        if charge.stopping:
            # A second, shorter order ends the patience of the first; TERM was sent already.
            self._group.create_task(process.kill_after(self._host, charge, grace_s=grace_s))
        else:
            charge.stopping = True
            if not charge.has_ended:
                charge.status = WorkerStatus.DRAINING
            self._group.create_task(self._end(charge, grace_s))
            self._on_change()
        return True

    async def _end(self, charge: Charge, grace_s: float) -> None:
        await charge.launched.wait()
        if await process.end_process(self._host, charge, grace_s=grace_s):
            charge.status = WorkerStatus.STOPPED
            self._ledger.remove(charge.record.id)
            self._roster.remove(charge)
        else:
            charge.stopping = False
            charge.status = WorkerStatus.FAILED
            charge.failure = Failure(Code.TIMEOUT, "does not end, not even by KILL")
        charge.gone.set()
        self._on_change()


def _stopping() -> Refusal:
    return Refusal(Code.DRAINING, "the pool is stopping")
