"""Looks at everything that a worker's plan depends on: its model's file, devices, the engine.

The looking happens in a thread and may take a moment; the planning is pure and happens on the
loop, so that two orders can never be promised the same memory.
"""

import asyncio
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from orchestrator_core.contracts.pool import DeviceReport, ModelFile, WorkerSpec
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.located import Located
from pool_core.devices.cpu import usable_cpus
from pool_core.workers.charge import Charge
from pool_core.workers.engine_facts import EngineFacts, read_engine_facts
from pool_core.workers.memory import Promise, pending_bytes, without_promised
from pool_core.workers.planning import HostPicture, Plan, plan

__all__ = ["Models", "Prepared", "Sight", "Surveyor"]


class Models(Protocol):
    """Where model files come from."""

    def locate(self, model: ModelFile) -> Located | Refusal:
        """The checked file of a model."""
        ...


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look has shown."""

    devices: tuple[DeviceReport, ...]
    model: Located | Refusal
    engine: EngineFacts | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A worker that can be started: its plan and its model's file."""

    plan: Plan
    model_path: Path
    model_bytes: int
    engine_build: str | None

    def put_into(self, charge: Charge) -> None:
        """Give a worker what its next start needs."""
        charge.model_path, charge.model_bytes = self.model_path, self.model_bytes
        charge.threads, charge.engine_build = self.plan.threads, self.engine_build
        charge.update(spec=self.plan.spec, needed_bytes=dict(self.plan.needed_bytes))


@dataclass(frozen=True, slots=True)
class Surveyor:
    """Surveys one host."""

    models: Models
    probe: Callable[[], list[DeviceReport]]

    async def look(self, order: WorkerSpec) -> Sight:
        """Read devices, file header and engine, off the loop."""
        return await asyncio.to_thread(self._look, order.model)

    def plan(
        self, order: WorkerSpec, sight: Sight, promises: Sequence[Promise]
    ) -> Prepared | Refusal:
        """Decide whether and how this host can run the worker."""
        located = sight.model
        picture = HostPicture(
            devices=tuple(without_promised(sight.devices, promises)),
            reserved_bytes=pending_bytes(promises),
            cpus=usable_cpus(),
            system=sys.platform,
            machine=platform.machine(),
            engine=sight.engine,
        )
        decided = plan(order, None if isinstance(located, Refusal) else located, picture)
        if isinstance(decided, Refusal):
            return decided
        if isinstance(located, Refusal):
            return located
        build = sight.engine.build if sight.engine else None
        return Prepared(decided, located.path, located.total_bytes, build)

    def _look(self, model: ModelFile) -> Sight:
        try:
            located = self.models.locate(model)
        except OSError as error:
            reason = f"{error.filename or model.file}: {error.strerror}"
            located = Refusal(Code.MODEL_NOT_FOUND, reason)
        known = () if isinstance(located, Refusal) else (located.facts.architecture,)
        return Sight(tuple(self.probe()), located, read_engine_facts(*known))
