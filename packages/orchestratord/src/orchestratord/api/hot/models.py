"""GET /v1/models: the models that a host holds or an external engine serves, from memory."""

from collections.abc import Mapping

import orjson

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.openai import ModelCard
from orchestrator_core.errors import Code, Refusal
from orchestratord.api.request import Request
from orchestratord.runtime.loop import Loop
from orchestratord.runtime.workerbook import WorkerBook
from orchestratord.serving.admission.allow_list import not_there

__all__ = ["ModelHandlers"]

_Card = Mapping[str, object]


class ModelHandlers:
    """The two model routes."""

    def __init__(
        self, *, catalog: Catalog, book: WorkerBook, loop: Loop, started_at_ms: int
    ) -> None:
        self._catalog = catalog
        self._book = book
        self._loop = loop
        self._created_s = started_at_ms // 1000

    async def show_all(self, request: Request) -> None:
        """Send all models."""
        may_use = request.holder.may_use
        here = [
            entry for entry in self._catalog.entries if may_use(entry.id) and self._is_here(entry)
        ]
        cards = [self._card(entry) for entry in here]
        listed = {entry.id for entry in here}
        unlisted = {**self._loop.machine.held_models, **self._book.external_models}
        others = (name for name in sorted(unlisted) if name not in listed and may_use(name))
        cards += [self._short_card(name) for name in others]
        await request.reply(200, orjson.dumps({"object": "list", "data": cards}))

    async def show(self, request: Request) -> None:
        """Send one model."""
        name, holder = request.params["id"], request.holder
        unlisted = {**self._loop.machine.held_models, **self._book.external_models}
        entry = self._catalog.find(name)
        if entry is None and name in unlisted and holder.may_use(name):
            await request.reply(200, orjson.dumps(self._short_card(name)))
            return
        found = entry or self._catalog.resolve(name, unlisted)
        if holder.models is not None and (
            isinstance(found, Refusal) or not holder.may_use(found.id)
        ):
            found = not_there(holder, name)
        if isinstance(found, Refusal):
            await request.refuse(found)
            return
        if not self._is_here(found):
            message = f"{found.id} is on no host: run `llorch-pool models download {found.id}`"
            await request.refuse(Refusal(Code.MODEL_NOT_PULLED, message))
            return
        await request.reply(200, orjson.dumps(self._card(found)))

    def _is_here(self, entry: CatalogEntry) -> bool:
        if entry.file.source == "builtin" or entry.id in self._book.external_models:
            return True
        return entry.id in self._loop.machine.held_models

    def _card(self, entry: CatalogEntry) -> _Card:
        card = ModelCard(
            id=entry.id,
            created=self._created_s,
            context_length=entry.ctx,
            max_model_len=entry.ctx,
        )
        return card.model_dump(mode="json")

    def _short_card(self, name: str) -> _Card:
        return ModelCard(id=name, created=self._created_s).model_dump(
            mode="json", exclude_none=True
        )
