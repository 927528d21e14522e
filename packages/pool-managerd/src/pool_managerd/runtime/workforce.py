"""Joins the workers that this pool starts with those that somebody else runs.

The API, the session with the orchestrator and the counters see one list; orders go to whoever can
carry them out, and none of them touches an external engine.
"""

import asyncio
from pathlib import Path
from typing import Protocol

from orchestrator_core.catalog.external import is_external
from orchestrator_core.contracts.pool import Owner, SpawnRequest, WantedSet, WorkerReport
from orchestrator_core.errors import Code, Refusal
from pool_managerd.runtime.ports import Signal, Workers

__all__ = ["External", "Workforce"]


class External(Protocol):
    """The engines that somebody else runs."""

    async def run(self) -> None:
        """Watch them until cancelled."""
        ...

    def reports(self) -> list[WorkerReport]:
        """Their models as workers, with their keys."""
        ...

    def stop_refusal(self, worker: str) -> Refusal | None:
        """Why a worker cannot be stopped; None: it is no external one."""
        ...


class Workforce:
    """All workers of this pool, behind the port that the daemon's parts know."""

    def __init__(self, supervisor: Workers, externals: External) -> None:
        self._supervisor = supervisor
        self._externals = externals

    @property
    def adopted(self) -> Signal:
        """Set when the workers of an earlier daemon have been taken over."""
        return self._supervisor.adopted

    async def run(self) -> None:
        """Own the supervision and the watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._supervisor.run())
            group.create_task(self._externals.run())

    async def spawn(self, order: SpawnRequest, owner: Owner) -> WorkerReport | Refusal:
        """Start a worker; an external engine is named in pool.toml instead."""
        if is_external(order.spec):
            line = "nobody here starts an external engine: name a running one in pool.toml"
            return Refusal(Code.INVALID_REQUEST, line, {"param": "engine"})
        return await self._supervisor.spawn(order, owner)

    async def stop(self, worker: str, *, grace_s: float) -> WorkerReport | Refusal:
        """Stop a worker by id or name; returns when it is gone."""
        refusal = self._externals.stop_refusal(worker)
        return refusal or await self._supervisor.stop(worker, grace_s=grace_s)

    def apply_wanted(self, wanted: WantedSet) -> None:
        """Start what is missing, stop what the orchestrator no longer wants."""
        self._supervisor.apply_wanted(wanted)

    def new_session(self) -> None:
        """Forget the highest revision of the earlier session."""
        self._supervisor.new_session()

    def log_path(self, worker: str) -> Path | None:
        """The log of a worker by id or name; whoever runs an external engine has its log."""
        return self._supervisor.log_path(worker)

    def reports(self) -> list[WorkerReport]:
        """All workers, with their keys."""
        return [*self._supervisor.reports(), *self._externals.reports()]
