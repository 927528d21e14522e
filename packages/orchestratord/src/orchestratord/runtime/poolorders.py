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
from orchestrator_core.errors import Code, LlorchError
from orchestrator_core.ids import PoolId
from orchestrator_core.scheduler.commands import StartWorker, StopWorker
from orchestrator_core.scheduler.events import Event, SpawnRefused

__all__ = ["PoolContact", "PoolOrders"]

_log = structlog.get_logger(__name__)
# Over these codes the wanted set heals the order; every other answer is the pool's final word.
_PASSING = frozenset({Code.UNREACHABLE, Code.TIMEOUT, Code.BAD_KEY, Code.NO_KEY})


@dataclass(frozen=True, slots=True)
class PoolContact:
    """How a pool is reached in its present session."""

    endpoint: str
    control_key: str
    version: str


class PoolOrders:
    """Performs StartWorker and StopWorker."""

    def __init__(
        self, *, clock: Clock, tasks: asyncio.TaskGroup, post: Callable[[Event], None]
    ) -> None:
        self._clock = clock
        self._tasks = tasks
        self._post = post
        self._contacts: dict[PoolId, PoolContact] = {}
        self._clients: dict[PoolId, AsyncPoolClient] = {}

    def contact(self, pool_id: PoolId) -> PoolContact | None:
        """How the pool said it can be reached."""
        return self._contacts.get(pool_id)

    def meet(self, pool_id: PoolId, contact: PoolContact) -> None:
        """Take the address and the key of a new session."""
        client = AsyncPoolClient(contact.endpoint, contact.control_key)
        stale = self._clients.get(pool_id)
        if stale is not None:
            self._tasks.create_task(stale.aclose(), name=f"close {pool_id}")
        self._contacts[pool_id] = contact
        self._clients[pool_id] = client

    def start_worker(self, command: StartWorker) -> None:
        """Send the order in the background."""
        self._tasks.create_task(self._start(command), name=f"start {command.worker_id}")

    def stop_worker(self, command: StopWorker) -> None:
        """Send the order in the background."""
        self._tasks.create_task(self._stop(command), name=f"stop {command.worker_id}")

    async def close(self) -> None:
        """Close all connections to pools."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    async def _start(self, command: StartWorker) -> None:
        client = self._clients.get(command.pool_id)
        if client is None:
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
            self._refused(command, problem)

    def _refused(self, command: StartWorker, problem: LlorchError) -> None:
        refusal = problem.refusal
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
        client = self._clients.get(command.pool_id)
        if client is None:
            return
        order = StopRequest(generation=command.generation, revision=command.revision)
        try:
            await client.stop(command.worker_id, order)
        except LlorchError as problem:
            _log.warning(
                "worker.stop_failed",
                pool_id=command.pool_id,
                worker_id=command.worker_id,
                code=problem.code,
                reason=problem.refusal.message,
            )
