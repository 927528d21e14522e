"""Turns what a person wrote into a catalogue entry, or names the nearest ones.

The entries come from the packaged catalog.toml and from the user's own; orchestrator and pools use
this same resolver.
"""

import difflib
import heapq
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final, Literal, TypeAlias

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.catalog.gguf_names import same_quant
from orchestrator_core.catalog.listing import merged, packaged_text, read_entries, read_text
from orchestrator_core.catalog.reference import Reference, ReferenceKind, parse
from orchestrator_core.config.layout import Layout
from orchestrator_core.errors import Code, Refusal

__all__ = ["Catalog", "Origin"]

Origin: TypeAlias = Literal["packaged", "user"]

_NEAREST: Final = 3
_COMPARED_MAX: Final = 64
# What a reference without a quantization stands for first, so that it is certain.
_USUAL_QUANT: Final = "Q4_K_M"
_DEFAULT_REVISION: Final = "main"


class Catalog:
    """All known models; ids and aliases share one space of names."""

    def __init__(
        self, entries: Iterable[CatalogEntry], additions: Iterable[CatalogEntry] = ()
    ) -> None:
        added = tuple(additions)
        self._entries = merged(tuple(entries), added)
        self._user_ids = frozenset(entry.id for entry in added)
        self._by_name = {
            name: entry for entry in self._entries for name in (entry.id, *entry.aliases)
        }
        # A reference is looked up for each request, so only entries that may fit are looked at.
        self._by_place: dict[str, list[CatalogEntry]] = {}
        for entry in self._entries:
            self._by_place.setdefault(entry.file.repo or entry.file.file, []).append(entry)

    @classmethod
    def load(cls, additions: Path | None = None, packaged: Path | None = None) -> "Catalog":
        """Read the packaged catalogue, or the file named instead, and what the user has added.

        A file of additions that is not there adds nothing.
        """
        if packaged is None:
            entries = read_entries(packaged_text())
        else:
            entries = read_entries(read_text(packaged, required=True), packaged)
        if additions is None:
            return cls(entries)
        return cls(entries, read_entries(read_text(additions), additions))

    @classmethod
    def of(cls, layout: Layout) -> "Catalog":
        """The catalogue of an installation."""
        return cls.load(layout.user_catalog, layout.catalog)

    @classmethod
    def from_toml(cls, text: str, additions: str = "") -> "Catalog":
        """Read a catalogue from its text; duplicate names and unknown keys are refused."""
        return cls(read_entries(text), read_entries(additions))

    @property
    def entries(self) -> tuple[CatalogEntry, ...]:
        """All entries in the order of the files; one that the user replaced keeps its place."""
        return self._entries

    def origin(self, entry: CatalogEntry) -> Origin:
        """Who has said what stands in an entry."""
        return "user" if entry.id in self._user_ids else "packaged"

    def resolve(self, text: str, others: Collection[str] = ()) -> CatalogEntry | Refusal:
        """Find the entry of an alias, an id or a reference to the same file.

        A refusal also offers others: names that are known elsewhere. A reference to the hub that
        is refused as not found may be sound all the same: canonical_id names its model.
        """
        found = self.find(text)
        if found is not None:
            return found
        reference = parse(text)
        return reference if isinstance(reference, Refusal) else self._unknown(text, others)

    def find(self, text: str) -> CatalogEntry | None:
        """The same for whoever can do without the reason; that reason is dear."""
        found = self._by_name.get(text)
        if found is not None:
            return found
        reference = parse(text)
        if isinstance(reference, Refusal) or reference.kind is ReferenceKind.ALIAS:
            return None
        near = self._by_place.get(reference.repo or reference.file or "", ())
        return next((entry for entry in near if _is_file_of(entry, reference)), None)

    def _unknown(self, text: str, others: Collection[str]) -> Refusal:
        names = _alike(text, {**self._by_name, **dict.fromkeys(others)})
        nearest = difflib.get_close_matches(text, names, n=_NEAREST, cutoff=0.0)
        hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
        details = {"model": text, "nearest": nearest}
        return Refusal(Code.MODEL_NOT_FOUND, f'there is no model "{text}"{hint}', details)


def _alike(text: str, names: Collection[str]) -> Collection[str]:
    """So many names that may be meant that comparing them letter by letter takes no time."""
    if len(names) <= _COMPARED_MAX:
        return names
    return heapq.nsmallest(
        _COMPARED_MAX, names, key=lambda it: (it[:1] != text[:1], abs(len(it) - len(text)))
    )


def _is_file_of(entry: CatalogEntry, reference: Reference) -> bool:
    file = entry.file
    match reference.kind:
        case ReferenceKind.HUB:
            return (
                file.repo == reference.repo
                and reference.revision in (None, file.commit or _DEFAULT_REVISION)
                and _is_picked(entry, reference)
            )
        case ReferenceKind.FILE:
            return file.source == "file" and file.file == reference.file
        case ReferenceKind.ALIAS:
            return False


def _is_picked(entry: CatalogEntry, reference: Reference) -> bool:
    """True where the reference names this file of the repository and can name no other."""
    if reference.file is not None:
        return reference.file == entry.file.file
    if reference.quant is not None:
        return same_quant(reference.quant, entry.quant)
    return entry.quant in (None, _USUAL_QUANT)
