"""GET /v1/models: the catalogue's models that a host has, from memory."""

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.openai import ModelCard, ModelCards
from orchestrator_core.errors import Code, Refusal
from orchestratord.api.request import Request
from orchestratord.runtime.loop import Loop

__all__ = ["ModelHandlers"]


class ModelHandlers:
    """The two model routes."""

    def __init__(self, *, catalog: Catalog, loop: Loop, started_at_ms: int) -> None:
        self._catalog = catalog
        self._loop = loop
        self._created_s = started_at_ms // 1000

    async def show_all(self, request: Request) -> None:
        """Send all models."""
        cards = [self._card(entry) for entry in self._catalog.entries if self._is_here(entry)]
        await request.reply(200, ModelCards(data=cards).model_dump_json().encode())

    async def show(self, request: Request) -> None:
        """Send one model."""
        entry = self._catalog.resolve(request.params["id"])
        if isinstance(entry, Refusal):
            await request.refuse(entry)
            return
        if not self._is_here(entry):
            message = f"{entry.id} is on no host: run `llorch-pool models download {entry.id}`"
            await request.refuse(Refusal(Code.MODEL_NOT_PULLED, message))
            return
        await request.reply(200, self._card(entry).model_dump_json().encode())

    def _is_here(self, entry: CatalogEntry) -> bool:
        return entry.file.source == "builtin" or self._loop.machine.hosts_model(entry.id)

    def _card(self, entry: CatalogEntry) -> ModelCard:
        return ModelCard(
            id=entry.id,
            created=self._created_s,
            context_length=entry.ctx,
            max_model_len=entry.ctx,
        )
