"""Draining: no new worker for the orchestrator, while those that run go on."""

from starlette.responses import Response

from orchestrator_core.errors import Refusal
from pool_managerd.api.replies import refused, reply
from pool_managerd.runtime.pool import Pool

__all__ = ["DrainApi"]


class DrainApi:
    """Turns the switch; repeating an order changes nothing and is no mistake."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def drain(self) -> Response:
        """Start no more workers for the orchestrator until resumed, restarts included."""
        return self._answer(await self._pool.drain.drain())

    async def resume(self) -> Response:
        """Take the orchestrator's orders again."""
        return self._answer(await self._pool.drain.resume())

    def _answer(self, refusal: Refusal | None) -> Response:
        return reply(self._pool.status()) if refusal is None else refused(refusal)
