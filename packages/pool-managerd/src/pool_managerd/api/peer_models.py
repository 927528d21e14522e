"""Tells other pools which models this host shares: names, origins and contents, never paths."""

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from orchestrator_core.contracts.sharing import SharedModelList
from orchestrator_core.errors import Refusal
from pool_managerd.api.blobs import not_shared
from pool_managerd.api.replies import refused, reply
from pool_managerd.runtime.pool import Pool

__all__ = ["PeerModelsApi"]


class PeerModelsApi:
    """Answers about the shared models."""

    def __init__(self, pool: Pool) -> None:
        self._outgoing = pool.outgoing

    async def list_models(
        self, model: Annotated[str | None, Query(min_length=1, max_length=512)] = None
    ) -> Response:
        """List what is shared, or what of it a name or a reference stands for."""
        if self._outgoing is None:
            return refused(not_shared())
        items = await self._outgoing.models(model)
        return refused(items) if isinstance(items, Refusal) else reply(SharedModelList(items=items))
