"""What the gate needs of a catalogue entry for every request, made once per entry."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator_core.catalog.entries import CatalogEntry, spec_for
from orchestrator_core.contracts.pool import WorkerSpec

__all__ = ["Offer", "Offers"]


@dataclass(frozen=True, slots=True)
class Offer:
    """An entry, the worker that it describes and how it is sampled by default."""

    entry: CatalogEntry
    spec: WorkerSpec
    spec_json: str
    sampling: Mapping[str, object]


class Offers:
    """The offers that were asked for, by the entry's id."""

    def __init__(self) -> None:
        self._offers: dict[str, Offer] = {}

    def of(self, entry: CatalogEntry) -> Offer:
        """The offer of an entry, which is never changed but may be replaced by another."""
        found = self._offers.get(entry.id)
        if found is None or found.entry is not entry:
            spec = spec_for(entry)
            sampling = entry.sampling.model_dump(exclude_none=True)
            found = self._offers[entry.id] = Offer(entry, spec, spec.model_dump_json(), sampling)
        return found
