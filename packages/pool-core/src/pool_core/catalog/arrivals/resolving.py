"""Finds out which files a download has to bring: the hub says it, and else the other pools."""

from dataclasses import dataclass, replace

from orchestrator_core.catalog.reference import ReferenceKind, parse
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.arrivals.bringing import Site
from pool_core.catalog.arrivals.hub_access import HubAccess
from pool_core.catalog.arrivals.peer_records import (
    Resolved,
    chosen_record,
    question_for,
    resolved_by,
)
from pool_core.catalog.arrivals.selection import Wish, select, wish_for

__all__ = ["Resolving"]

# Nobody's word makes up for a cancel or for a setting that cannot be meant.
_OWN_FAULTS = frozenset({Code.CANCELLED, Code.CONFIG_INVALID, Code.INVALID_REQUEST})


@dataclass(frozen=True, slots=True)
class Resolving:
    """The question of one download."""

    site: Site
    catalog: Catalog
    access: HubAccess

    def resolve(self) -> Resolved | Refusal:
        """What to bring, or why nobody can say it."""
        wish = wish_for(self.site.order.model, self.catalog)
        if isinstance(wish, Refusal):
            return self._of_an_import(wish)
        listing = self.access.listing(wish.reference)
        if isinstance(listing, Refusal):
            return self._by_peers(question_for(wish), wish, listing)
        chosen = select(wish, listing, mmproj=self.site.order.mmproj)
        if isinstance(chosen, Refusal):
            return chosen
        return Resolved(chosen, listing, wish.entry)

    def _of_an_import(self, refusal: Refusal) -> Resolved | Refusal:
        """What no catalogue knows may be a file that a person took in on another host."""
        text = self.site.order.model
        reference = parse(text)
        if isinstance(reference, Refusal) or reference.kind is not ReferenceKind.ALIAS:
            return refusal
        resolved = self._by_peers(text, None, refusal)
        own = self.site.store.records.get(text)
        if own is None or isinstance(resolved, Refusal):
            return resolved
        # Two people may have called different files by one name: ours is not lost to theirs.
        theirs = [file.sha256 for file in resolved.chosen.files]
        if [file.sha256 for file in own.files] == theirs:
            return resolved
        line = f"{text} is another model here than on other hosts: delete it first to copy theirs"
        return Refusal(Code.CONFLICT, line)

    def _by_peers(self, text: str, wish: Wish | None, refusal: Refusal) -> Resolved | Refusal:
        """What most peers say, where the hub has refused."""
        if refusal.code in _OWN_FAULTS or self.site.order.via == "hf":
            return refusal
        mmproj, endpoint = self.site.order.mmproj, self.access.endpoint
        found = [
            (name, resolved)
            for name, told in self.access.records(text)
            if (resolved := resolved_by(told, text, wish, mmproj=mmproj, endpoint=endpoint))
        ]
        best = chosen_record(found)
        if best is None:
            why = self.access.why_no_record()
            return replace(refusal, message=f"{refusal.message}; {why}") if why else refusal
        name, resolved = best
        self.access.go_without_hub(refusal)
        self.site.telling.note(f"the hub does not say what it is; goes by the word of {name}")
        return resolved
