"""Pools and workers: sessions and beats from the hosts, views and stops for operators."""

from collections.abc import Callable, Iterable

import structlog

from orchestrator_core.catalog.external import is_external
from orchestrator_core.contracts.control import Health, PoolList, PoolView
from orchestrator_core.contracts.pool import (
    Heartbeat,
    HeartbeatReply,
    PoolRegister,
    PoolRegistered,
    WorkerList,
    WorkerReport,
)
from orchestrator_core.errors import CapacityError, Code, Refusal, RequestError
from orchestrator_core.ids import PoolId, SessionId
from orchestrator_core.scheduler import events
from orchestrator_core.scheduler.views import PoolFacts, WorkerFacts
from orchestratord.api.control.contacts import checked_address, refused_worker
from orchestratord.runtime.loop import Loop
from orchestratord.runtime.poolorders import PoolContact, PoolOrders
from orchestratord.runtime.workerbook import WorkerBook

__all__ = ["PoolHandlers"]

_log = structlog.get_logger(__name__)


class PoolHandlers:
    """The routes of /v2/pools and /v2/workers."""

    def __init__(
        self,
        *,
        loop: Loop,
        book: WorkerBook,
        orders: PoolOrders,
        heartbeat_interval_s: float,
        now: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._book = book
        self._orders = orders
        self._heartbeat_interval_s = heartbeat_interval_s
        self._now = now
        self._last_beats: dict[PoolId, int] = {}

    async def register(self, body: PoolRegister) -> PoolRegistered:
        """Open a session; a newer one fences the older."""
        self._refuse_unless_ready(body.workers)
        endpoint = checked_address(body.endpoint, "endpoint")
        if isinstance(endpoint, Refusal):
            raise RequestError(endpoint)
        pool_id, session_id = PoolId(body.pool_id), SessionId(body.session_id)
        self._orders.meet(
            pool_id, PoolContact(endpoint, body.control_key.get_secret_value(), body.version)
        )
        self._book.replace(pool_id, body.workers)
        self._last_beats[pool_id] = 0
        _log.info("pool.registered", pool_id=pool_id, session_id=session_id)
        self._loop.post(
            events.PoolRegistered(
                at=self._now(),
                pool_id=pool_id,
                session_id=session_id,
                devices=tuple(body.devices),
                workers=tuple(body.workers),
                models=tuple(body.models),
                engines=tuple(body.engines),
                draining=body.draining,
            )
        )
        return PoolRegistered(
            pool_id=pool_id,
            session_id=session_id,
            heartbeat_interval_s=self._heartbeat_interval_s,
            wanted=self._loop.machine.wanted(pool_id),
        )

    async def heartbeat(self, id: str, body: Heartbeat) -> HeartbeatReply:  # noqa: A002 - the path's name.
        """Take a pool's word; an old session is told to register anew."""
        pool_id, session_id = PoolId(id), SessionId(body.session_id)
        if body.pool_id != pool_id:
            message = f"the path names pool {id}, the body {body.pool_id}"
            raise RequestError(Refusal(Code.INVALID_REQUEST, message))
        self._refuse_unless_ready(body.workers)
        refusal = self._loop.machine.beat_refusal(pool_id, session_id)
        if refusal is not None:
            raise RequestError(refusal)
        # A beat that a newer one overtook on its way would lose the workers that came between them.
        if body.seq > self._last_beats[pool_id]:
            self._last_beats[pool_id] = body.seq
            self._book.replace(pool_id, body.workers)
            self._loop.post(
                events.PoolBeat(
                    at=self._now(),
                    pool_id=pool_id,
                    session_id=session_id,
                    devices=tuple(body.devices),
                    workers=tuple(body.workers),
                    models=None if body.models is None else tuple(body.models),
                    draining=body.draining,
                )
            )
        return HeartbeatReply(
            wanted=self._loop.machine.wanted(pool_id),
            heartbeat_interval_s=self._heartbeat_interval_s,
        )

    def _refuse_unless_ready(self, workers: Iterable[WorkerReport]) -> None:
        if self._loop.failure is not None:
            # Without the machine the wanted set is not known, and an empty one would stop workers.
            message = "the scheduler has stopped: report again once the orchestrator is back"
            raise CapacityError(Refusal(Code.DRAINING, message))
        refusal = refused_worker(workers)
        if refusal is not None:
            raise RequestError(refusal)

    async def show_all(self) -> PoolList:
        """Show all pools."""
        return PoolList(items=[self._view(pool) for pool in self._loop.machine.pools()])

    async def list_workers(self) -> WorkerList:
        """Show the workers of all pools."""
        return WorkerList(items=[_show(found) for found in self._reported()])

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

    def _view(self, pool: PoolFacts) -> PoolView:
        contact = self._orders.contact(pool.pool_id)
        return PoolView(
            pool_id=pool.pool_id,
            status=pool.status,
            endpoint=contact.endpoint if contact else "",
            version=contact.version if contact else "",
            last_seen_s=round(max(0.0, self._now() - pool.last_seen_at), 3),
            devices=list(pool.devices),
            workers=[_show(found) for found in pool.workers if found.report is not None],
        )


def _answers_to(found: WorkerFacts, name: str) -> bool:
    own = found.report.name if found.report else ""
    return name in (found.worker_id, own, f"{found.pool_id}/{own}")


def _show(found: WorkerFacts) -> WorkerReport:
    """A worker for people: slots as we count them, never its key."""
    if found.report is None:
        raise AssertionError("only reported workers are shown")
    return found.report.without_key().model_copy(update={"slots_busy": found.slots_used})
