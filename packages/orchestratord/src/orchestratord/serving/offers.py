"""Finds what the gate needs of a model for every request: by its name, made once per model.

A model comes from the catalogue, or from an external engine that some pool reports.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator_core.catalog.entries import CatalogEntry, spec_for
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import WorkerSpec
from orchestrator_core.errors import Refusal
from orchestrator_core.fit.pace import stall_s
from orchestratord.runtime.workerbook import WorkerBook

__all__ = ["Offer", "Offers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A model, the worker that runs it, and how it is sampled by default.

    Without an entry it stands in no catalogue: only external engines serve it.
    """

    model: str
    entry: CatalogEntry | None
    slots: int
    spec: WorkerSpec
    spec_json: str
    sampling: Mapping[str, object]


class Offers:
    """The offers that were asked for, by the model's name."""

    def __init__(self, catalog: Catalog, book: WorkerBook) -> None:
        self._catalog = catalog
        self._book = book
        self._offers: dict[str, Offer] = {}
        self._external: dict[str, Offer] = {}

    def find(self, name: str) -> Offer | Refusal:
        """The offer of a model; the catalogue's names come first."""
        entry = self._catalog.find(name)
        if entry is not None:
            return self._of_entry(entry)
        external = self._book.external_models
        spec = external.get(name)
        if spec is not None:
            return self._of_engine(name, spec)
        found = self._catalog.resolve(name, external)
        return found if isinstance(found, Refusal) else self._of_entry(found)

    def served_outside(self, model: str) -> bool:
        """True when an external engine has this model, whether it is up or not."""
        return model in self._book.external_models

    def _of_entry(self, entry: CatalogEntry) -> Offer:
        found = self._offers.get(entry.id)
        if found is not None and found.entry is entry:
            return found
        spec = spec_for(entry)
        patience_s = stall_s(spec.model.size_bytes, spec.batch_size, spec.backend)
        spec = spec.model_copy(update={"stall_s": patience_s})
        offer = self._offers[entry.id] = Offer(
            model=entry.id,
            entry=entry,
            slots=entry.parallel,
            spec=spec,
            spec_json=spec.model_dump_json(),
            sampling=entry.sampling.model_dump(exclude_none=True),
        )
        return offer

    def _of_engine(self, name: str, spec: WorkerSpec) -> Offer:
        found = self._external.get(name)
        if found is None or found.spec is not spec:
            # Names that no engine serves any more must not pile up.
            known = self._book.external_models
            self._external = {key: it for key, it in self._external.items() if key in known}
            found = self._external[name] = Offer(
                model=name,
                entry=None,
                slots=spec.parallel or 1,
                spec=spec,
                spec_json=spec.model_dump_json(),
                sampling={},
            )
        return found
