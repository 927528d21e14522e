"""Workers: list, spawn, stop. No answer of this API carries a worker's key."""

from starlette.responses import Response

from orchestrator_core.contracts.pool import (
    Owner,
    SpawnRequest,
    StopRequest,
    WorkerList,
    WorkerReport,
)
from orchestrator_core.errors import Code, Refusal
from pool_managerd.api.replies import refused, reply
from pool_managerd.runtime.drain import refuse_start
from pool_managerd.runtime.pool import Pool

__all__ = ["WorkersApi"]


class WorkersApi:
    """Answers about the workers of this host."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def list_workers(self) -> Response:
        """List them all."""
        return reply(WorkerList(items=self._pool.worker_reports()))

    async def spawn(self, order: SpawnRequest) -> Response:
        """Start a worker: one with an id is the orchestrator's, one without is a person's.

        A draining pool refuses the orchestrator's; a person's own still starts.
        """
        owner = Owner.OPERATOR if order.worker_id is None else Owner.ORCHESTRATOR
        if self._pool.drain.active and order.worker_id is not None:
            refusal = refuse_start(order.worker_id, self._pool.workers.reports())
            if refusal is not None:
                return refused(refusal)
        return _answer(await self._pool.workers.spawn(order, owner), status=202)

    async def stop(self, worker: str, order: StopRequest | None = None) -> Response:
        """Stop a worker by id or name; answers when its process is gone."""
        order = order or StopRequest()
        stale = self._refuse_stale(worker, order)
        if stale is not None:
            return refused(stale)
        # The contract's default is for callers that never name a grace; ours can be configured.
        named = "grace_s" in order.model_fields_set
        grace_s = order.grace_s if named else self._pool.stop_grace_s
        return _answer(await self._pool.workers.stop(worker, grace_s=grace_s))

    def _refuse_stale(self, worker: str, order: StopRequest) -> Refusal | None:
        if order.generation is None:
            return None
        for report in self._pool.workers.reports():
            if worker in (report.id, report.name) and order.generation < report.generation:
                return Refusal(
                    Code.STALE_GENERATION,
                    f"worker {worker} is of generation {report.generation} by now, "
                    f"the order is for generation {order.generation}",
                    {"generation": report.generation},
                )
        return None


def _answer(result: WorkerReport | Refusal, status: int = 200) -> Response:
    if isinstance(result, Refusal):
        return refused(result)
    return reply(result.without_key(), status)
