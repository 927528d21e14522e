"""Talks to the pools: sends the machine's orders for workers and reports refusals as facts.

A lost order is no harm: the wanted set in the next heartbeat's reply repeats it.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from orchestrator_core.clients.pool import AsyncPoolClient
from orchestrator_core.clock import Clock
from orchestrator_core.contracts.pool import SpawnRequest, StopRequest
from orchestrator_core.errors import Code, LlorchError, Refusal
from orchestrator_core.ids import PoolId
from orchestrator_core.scheduler.commands import StartWorker, StopWorker
from orchestrator_core.scheduler.events import Event, SpawnRefused
from orchestratord.runtime.hosts.ways import PoolContact, Way, Ways

__all__ = ["PoolContact", "PoolOrders"]

_log = structlog.get_logger(__name__)
# Over these codes the wanted set heals the order; every other answer is the pool's final word.
_PASSING = frozenset(
    {Code.UNREACHABLE, Code.TIMEOUT, Code.BAD_KEY, Code.NO_KEY, Code.POOL_NOT_FOUND}
)


@dataclass(frozen=True, slots=True)
class _Held:
    """A client and the way that it goes by."""

    way: Way
    client: AsyncPoolClient


class PoolOrders:
    """Performs StartWorker and StopWorker, and lends out clients of the pools' own API."""

    def __init__(
        self,
        *,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        post: Callable[[Event], None],
        ways: Ways | None = None,
    ) -> None:
        self._clock = clock
        self._tasks = tasks
        self._post = post
        self._ways = ways or Ways()
        self._held: dict[PoolId, _Held] = {}

    def contact(self, pool_id: PoolId) -> PoolContact | None:
        """How the pool said it can be reached."""
        return self._ways.contact(pool_id)

    def meet(self, pool_id: PoolId, contact: PoolContact) -> None:
        """Take the address and the key of a new session."""
        self._drop(pool_id)
        self._ways.meet(pool_id, contact)

    def forget(self, pool_id: PoolId) -> None:
        """Drop the address and the key of a pool that was removed."""
        self._drop(pool_id)
        self._ways.forget(pool_id)

    def client(self, pool_id: PoolId) -> AsyncPoolClient | Refusal:
        """A client of the pool over its present way; it stays ours to close."""
        way = self._ways.way(pool_id)
        if isinstance(way, Refusal):
            return way
        held = self._held.get(pool_id)
        if held is None or held.way != way:
            self._drop(pool_id)
            held = self._held[pool_id] = _Held(way, way.open_client())
        return held.client

    def _drop(self, pool_id: PoolId) -> None:
        stale = self._held.pop(pool_id, None)
        if stale is not None:
            self._tasks.create_task(stale.client.aclose(), name=f"close {pool_id}")

    def start_worker(self, command: StartWorker) -> None:
        """Send the order in the background."""
        self._tasks.create_task(self._start(command), name=f"start {command.worker_id}")

    def stop_worker(self, command: StopWorker) -> None:
        """Send the order in the background."""
        self._tasks.create_task(self._stop(command), name=f"stop {command.worker_id}")

    async def close(self) -> None:
        """Close all connections to pools."""
        for held in self._held.values():
            await held.client.aclose()
        self._held.clear()

    async def _start(self, command: StartWorker) -> None:
        client = self.client(command.pool_id)
        if isinstance(client, Refusal):
            self._refused(command, client)
            return
        order = SpawnRequest(
            worker_id=command.worker_id,
            generation=command.generation,
            revision=command.revision,
            spec=command.spec,
        )
        try:
            await client.spawn(order)
        except LlorchError as problem:
            self._refused(command, problem.refusal)

    def _refused(self, command: StartWorker, refusal: Refusal) -> None:
        _log.warning(
            "worker.order_failed",
            pool_id=command.pool_id,
            worker_id=command.worker_id,
            code=refusal.code,
            reason=refusal.message,
        )
        if refusal.code in _PASSING:
            return
        self._post(
            SpawnRefused(
                at=self._clock.monotonic_s(),
                pool_id=command.pool_id,
                worker_id=command.worker_id,
                reason=refusal.code,
                message=refusal.message,
            )
        )

    async def _stop(self, command: StopWorker) -> None:
        client = self.client(command.pool_id)
        if isinstance(client, Refusal):
            _stop_failed(command, client)
            return
        order = StopRequest(generation=command.generation, revision=command.revision)
        try:
            await client.stop(command.worker_id, order)
        except LlorchError as problem:
            _stop_failed(command, problem.refusal)


def _stop_failed(command: StopWorker, refusal: Refusal) -> None:
    _log.warning(
        "worker.stop_failed",
        pool_id=command.pool_id,
        worker_id=command.worker_id,
        code=refusal.code,
        reason=refusal.message,
    )
