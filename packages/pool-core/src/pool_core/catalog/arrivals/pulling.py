"""One download from the name to the shelf: list, choose, bring, judge the header, record.

A model is recorded only when all of its files are here and an engine could read the first of them.
What is here whole already is asked of nobody.
"""

from dataclasses import dataclass
from typing import Final

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.catalog.reference import Reference, canonical_id, parse
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.arrivals.bringing import Bringing, Site
from pool_core.catalog.arrivals.hub_access import HubAccess
from pool_core.catalog.arrivals.peer_records import USUAL_QUANT, Resolved
from pool_core.catalog.arrivals.recording import keep_model
from pool_core.catalog.arrivals.resolving import Resolving
from pool_core.catalog.arrivals.selection import Wish, wish_for
from pool_core.catalog.reading import cancelled
from pool_core.catalog.store.naming import find_record
from pool_core.catalog.store.records import ModelRecord

__all__ = ["Pulling"]

# A command that deletes models may take a content away before its record is written.
_TRIES: Final = 3


@dataclass(frozen=True, slots=True)
class Pulling:
    """One act of downloading."""

    site: Site
    catalog: Catalog

    def present(self) -> ModelRecord | None:
        """The model if it is here whole and nobody wants it anew; None where it is to be fetched."""
        wish = wish_for(self.site.order.model, self.catalog)
        if isinstance(wish, Refusal):
            own = self.site.store.records.get(self.site.order.model)
            return own if own is not None and self._is_enough(own, None) else None
        record = self._record_of(wish)
        return record if record is not None and self._is_enough(record, wish.entry) else None

    def pull(self) -> ModelRecord | Refusal:
        """Bring the model here."""
        site = self.site
        with HubAccess(
            site.store.folder, site.around, site.cancel, say=self._peer_failed
        ) as access:
            found = Resolving(self.site, self.catalog, access).resolve()
            if isinstance(found, Refusal):
                return found
            present = self.site.store.records.get(found.chosen.id)
            if present is not None and self._is_enough(present, found.entry):
                return present
            self.site.store.prepare()
            with self.site.store.claims.hold(found.chosen.id):
                return self._bring(found, access)

    def _peer_failed(self, line: str) -> None:
        """A peer that fails costs time, and one that lies should be looked at."""
        self.site.store.say(f"{line}: left out of the download of {self.site.order.model}")
        self.site.telling.remember(line)

    def _record_of(self, wish: Wish) -> ModelRecord | None:
        """The record of a model, where no hub has to say which file is meant."""
        store, reference = self.site.store, wish.reference
        if wish.entry is not None:
            return store.records.get(wish.entry.id)
        if reference.quant is None and reference.file is None:
            return store.records.get(canonical_id(reference, quant=USUAL_QUANT))
        record = find_record(reference.text, store.records.all())
        return record if record is not None and _is_of(record, reference) else None

    def _is_enough(self, record: ModelRecord, entry: CatalogEntry | None) -> bool:
        order = self.site.order
        if order.force or self.site.store.fault_of(record) is not None:
            return False
        if order.mmproj and record.mmproj_left_out:
            return False
        return entry is None or entry.file.sha256 in (None, record.files[0].sha256)

    def _bring(self, found: Resolved, access: HubAccess) -> ModelRecord | Refusal:
        chosen, listing = found.chosen, found.listing
        kept: ModelRecord | Refusal = cancelled(f"the download of {chosen.id}")
        for _ in range(_TRIES):
            recorded = Bringing(self.site, chosen, listing, access).bring()
            if isinstance(recorded, Refusal):
                return recorded
            kept = keep_model(self.site.store, chosen, listing, recorded, found.entry)
            if not isinstance(kept, Refusal) or kept.code is not Code.CONFLICT:
                return kept
        return kept


def _is_of(record: ModelRecord, reference: Reference) -> bool:
    """Whether a record was made of the revision that is wanted."""
    own = parse(record.id)
    revision = None if isinstance(own, Refusal) else own.revision
    return reference.revision in (revision, record.commit)
