"""Pools and workers: sessions and beats from the hosts, views and orders for operators."""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Final, TypeVar

from fastapi import Request

from orchestrator_core.catalog.external import is_external
from orchestrator_core.clients.pool import AsyncPoolClient
from orchestrator_core.contracts.control import Health, PoolList, PoolView
from orchestrator_core.contracts.pool import (
    Heartbeat,
    HeartbeatReply,
    PoolRegister,
    PoolRegistered,
    PoolStatusView,
    SpawnRequest,
    WorkerList,
    WorkerReport,
)
from orchestrator_core.errors import Code, LlorchError, Refusal, RequestError, error_for
from orchestrator_core.ids import PoolId
from orchestrator_core.scheduler import events
from orchestrator_core.scheduler.views import PoolFacts, WorkerFacts
from orchestratord.api.control.holder import holder_of
from orchestratord.api.control.pool_views import LinkTo, pool_view, worker_view
from orchestratord.runtime.enrolments import Enrolments
from orchestratord.runtime.loop import Loop
from orchestratord.runtime.pooldesk import PoolDesk
from orchestratord.runtime.poolorders import PoolOrders

__all__ = ["PoolHandlers"]

T = TypeVar("T")

_NOT_TAKEN: Final = frozenset({Code.NO_KEY, Code.BAD_KEY, Code.SCOPE, Code.FORBIDDEN_HOST})
_NO_ANSWER: Final = frozenset({Code.UNREACHABLE, Code.TIMEOUT, Code.INTERNAL})


class PoolHandlers:
    """The routes of /v2/pools and /v2/workers."""

    def __init__(
        self,
        *,
        loop: Loop,
        desk: PoolDesk,
        orders: PoolOrders,
        enrolments: Enrolments,
        link_to: LinkTo,
        now: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._desk = desk
        self._orders = orders
        self._enrolments = enrolments
        self._link_to = link_to
        self._now = now

    async def register(self, request: Request, body: PoolRegister) -> PoolRegistered:
        """Open a session; a newer one fences the older."""
        return _taken(self._desk.register(body, holder_of(request)))

    async def heartbeat(self, request: Request, id: str, body: Heartbeat) -> HeartbeatReply:  # noqa: A002 - the path's name.
        """Take a pool's word; an old session is told to register anew."""
        if body.pool_id != id:
            message = f"the path names pool {id}, the body {body.pool_id}"
            raise RequestError(Refusal(Code.INVALID_REQUEST, message))
        return _taken(self._desk.beat(body, holder_of(request)))

    async def show_all(self) -> PoolList:
        """Show all pools, enrolled ones that never reported too."""
        known = {pool.pool_id: pool for pool in self._loop.machine.pools()}
        names = known.keys() | {row.id for row in self._enrolments.rows()}
        return PoolList(items=[self._view(name, known.get(name)) for name in sorted(names)])

    async def show(self, id: str) -> PoolView:  # noqa: A002 - the path's name.
        """Show one pool."""
        pool_id = self._known(id)
        return self._view(pool_id, self._loop.machine.pool(pool_id))

    async def drain(self, id: str) -> PoolStatusView:  # noqa: A002 - the path's name.
        """Let a pool start no more workers for us."""
        pool_id = self._known(id)
        with _orders_for(pool_id):
            return _without_keys(await self._client(pool_id).drain())

    async def resume(self, id: str) -> PoolStatusView:  # noqa: A002 - the path's name.
        """Let a pool start workers for us again."""
        pool_id = self._known(id)
        with _orders_for(pool_id):
            return _without_keys(await self._client(pool_id).resume())

    async def spawn(self, id: str, body: SpawnRequest) -> WorkerReport:  # noqa: A002 - the path's name.
        """Start a worker of a person's own on a pool."""
        pool_id = self._known(id)
        if body.worker_id is not None:
            message = "worker_id may not be set here: the pool names a person's own workers"
            refusal = Refusal(Code.INVALID_REQUEST, message, {"param": "worker_id"})
            raise RequestError(refusal)
        with _orders_for(pool_id):
            return (await self._client(pool_id).spawn(body)).without_key()

    async def list_workers(self) -> WorkerList:
        """Show the workers of all pools."""
        return WorkerList(items=[worker_view(found) for found in self._reported()])

    async def stop_worker(self, id: str) -> Health:  # noqa: A002 - the path's name.
        """Stop a worker by id or by POOL/name; waiting jobs may order a new one."""
        workers = [found for found in self._reported() if _answers_to(found, id)]
        if not workers:
            raise RequestError(Refusal(Code.WORKER_NOT_FOUND, f"there is no worker {id}"))
        if len(workers) > 1:
            names = ", ".join(found.worker_id for found in workers)
            message = f"several pools have a worker {id}: say which by its id ({names})"
            raise RequestError(Refusal(Code.CONFLICT, message))
        (worker,) = workers
        if worker.report is not None and is_external(worker.report.spec):
            line = f"{worker.report.name} is run by somebody else: take it out of its pool.toml"
            raise RequestError(Refusal(Code.CONFLICT, line, {"worker": worker.report.name}))
        self._loop.post(events.WorkerStopRequested(at=self._now(), worker_id=worker.worker_id))
        return Health(status="stopping")

    def _reported(self) -> list[WorkerFacts]:
        return [found for found in self._loop.machine.workers() if found.report is not None]

    def _known(self, name: str) -> PoolId:
        pool_id = PoolId(name)
        known = self._loop.machine.pool_status(pool_id) is not None
        if not known and self._enrolments.row(pool_id) is None:
            raise RequestError(Refusal(Code.POOL_NOT_FOUND, f"there is no pool {name}"))
        return pool_id

    def _client(self, pool_id: PoolId) -> AsyncPoolClient:
        found = self._orders.client(pool_id)
        if isinstance(found, Refusal) and found.code is Code.POOL_NOT_FOUND:
            # It is enrolled, or we would not have come here.
            line = f"pool {pool_id} is enrolled and has not reported yet: try again once it has"
            raise error_for(Refusal(Code.UNREACHABLE, line))
        return _taken(found)

    def _view(self, pool_id: PoolId, pool: PoolFacts | None) -> PoolView:
        return pool_view(
            pool_id,
            pool=pool,
            contact=self._orders.contact(pool_id),
            row=self._enrolments.row(pool_id),
            link=self._link_to(pool_id),
            now=self._now(),
        )


def _taken(answer: T | Refusal) -> T:
    if isinstance(answer, Refusal):
        raise error_for(answer)
    return answer


@contextlib.contextmanager
def _orders_for(pool_id: PoolId) -> Generator[None]:
    """Say of which pool the words are that came back, or why none did.

    A key that is not taken there is ours: whoever has asked us must not take it for his own.
    """
    try:
        yield
    except LlorchError as problem:
        refusal = problem.refusal
        if refusal.code in _NOT_TAKEN:
            line = f"pool {pool_id} does not take our key: try again once it has reported anew"
            raise error_for(Refusal(Code.UNREACHABLE, line)) from problem
        if refusal.code not in _NO_ANSWER:
            raise
        line = f"pool {pool_id}: {refusal.message}"
        raise error_for(replace(refusal, message=line)) from problem


def _without_keys(view: PoolStatusView) -> PoolStatusView:
    workers = [worker.without_key() for worker in view.workers]
    return view.model_copy(update={"workers": workers})


def _answers_to(found: WorkerFacts, name: str) -> bool:
    own = found.report.name if found.report else ""
    return name in (found.worker_id, own, f"{found.pool_id}/{own}")
