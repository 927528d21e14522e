"""Watches the engines that somebody else runs, and reports their models as workers of this pool.

One task per engine looks at it; life decides what that means, and on_change tells the daemon.
They are never started or stopped here: whoever runs them does that.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from orchestrator_core.clock import Clock, rfc3339
from orchestrator_core.contracts.pool import (
    Backend,
    ModelFile,
    Owner,
    WorkerReport,
    WorkerSpec,
    WorkerStatus,
)
from orchestrator_core.errors import Code, Refusal
from pool_core.externals.asking import look
from pool_core.externals.keys import read_key
from pool_core.externals.life import (
    EngineState,
    Fault,
    Found,
    Member,
    Pace,
    begin,
    fold,
    pause_s,
    worker_id,
)
from pool_core.externals.settings import ExternalEngine

__all__ = ["Externals"]

_PACE: Final = Pace()


@dataclass(slots=True)
class _Watched:
    engine: ExternalEngine
    state: EngineState
    key: str | None = None


class Externals:
    """The external engines of one pool; roll gives numbers from 0 to 1."""

    def __init__(
        self,
        engines: Sequence[ExternalEngine],
        *,
        instance: str,
        clock: Clock,
        roll: Callable[[], float],
        on_change: Callable[[], None],
        pace: Pace = _PACE,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._instance = instance
        self._clock = clock
        self._roll = roll
        self._on_change = on_change
        self._pace = pace
        self._transport = transport
        self._watched: list[_Watched] = []
        for engine in engines:
            watched = _Watched(engine, EngineState())
            self._watched.append(watched)
        for watched in self._watched:
            taken = self._taken_beside(watched)
            watched.state = begin(watched.engine, clock.unix_ms(), taken)

    async def run(self) -> None:
        """Own one task per engine until cancelled; without an engine there is nothing to do."""
        async with asyncio.TaskGroup() as group:
            for watched in self._watched:
                group.create_task(self._watch(watched), name=f"external {watched.engine.name}")

    async def look_once(self) -> None:
        """Look at every engine one time, for whoever does not stay to watch."""
        async with asyncio.TaskGroup() as group:
            for watched in self._watched:
                group.create_task(self._take_in(watched))

    def reports(self) -> list[WorkerReport]:
        """Every model of every engine as a worker, with its key."""
        return [
            self._report(watched, member)
            for watched in self._watched
            for member in watched.state.members
        ]

    def faults(self) -> Mapping[str, str]:
        """What is wrong, by the engine's name: also of those of which no model is known yet."""
        return {
            watched.engine.name: watched.state.fault.message
            for watched in self._watched
            if watched.state.fault is not None
        }

    def stop_refusal(self, worker: str) -> Refusal | None:
        """Why this worker cannot be stopped here; None: it is none of ours."""
        for report in self.reports():
            if worker in (report.id, report.name):
                line = f"{report.name} is run by somebody else: take it out of pool.toml"
                return Refusal(Code.CONFLICT, line, {"worker": report.name, "url": report.url})
        return None

    async def _watch(self, watched: _Watched) -> None:
        while True:
            await self._take_in(watched)
            await asyncio.sleep(pause_s(watched.state, self._pace, self._roll))

    async def _take_in(self, watched: _Watched) -> None:
        found = await self._look(watched)
        before, key = watched.state, watched.key
        taken = self._taken_beside(watched)
        watched.state = fold(watched.engine, before, found, self._clock.unix_ms(), taken)
        if (before.members, before.fault, key) != (
            watched.state.members,
            watched.state.fault,
            watched.key,
        ):
            self._on_change()

    async def _look(self, watched: _Watched) -> Found:
        engine = watched.engine
        if engine.key_file is not None:
            # Read anew each time, so that a key can be changed without a restart.
            key = await asyncio.to_thread(read_key, engine.key_file)
            if isinstance(key, Refusal):
                return Found(fault=Fault(key.code, key.message))
            watched.key = key
        members = watched.state.members
        known = {it.upstream for it in members if it.status is WorkerStatus.READY}
        return await look(engine, watched.key, known, self._transport)

    def _taken_beside(self, watched: _Watched) -> set[str]:
        """Names that a model of this engine cannot have: those of all other engines."""
        others = [other for other in self._watched if other is not watched]
        first = {f"worker-openai-{other.engine.name}" for other in others}
        return first | {member.name for other in others for member in other.state.members}

    def _report(self, watched: _Watched, member: Member) -> WorkerReport:
        engine, fault = watched.engine, member.fault
        spec = WorkerSpec(
            model=ModelFile(model_id=member.model, source="external", file=member.upstream),
            engine="openai",
            task=engine.task,
            parallel=engine.max_concurrency,
        )
        return WorkerReport(
            id=worker_id(self._instance, engine.name, member.model),
            name=member.name,
            incarnation=member.incarnation,
            owner=Owner.OPERATOR,
            status=member.status,
            model=member.model,
            task=engine.task,
            backend=Backend.CPU,
            spec=spec,
            port=urlsplit(engine.url).port,
            url=engine.url,
            key=SecretStr(watched.key) if watched.key is not None else None,
            slots_total=engine.max_concurrency,
            started_at=rfc3339(member.began_ms),
            ready_at=rfc3339(member.ready_ms) if member.ready_ms is not None else None,
            error_code=fault.code if fault is not None else None,
            error_message=fault.message if fault is not None else None,
        )
