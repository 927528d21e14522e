"""Tells what is known of a model, here or only at a hub: its files, its header, where it would fit.

Of a model that is not here only the first bytes are read, by ranges.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.catalog.reference import Reference, ReferenceKind, parse
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.model_info import InfoOrder, ModelInfo
from orchestrator_core.contracts.models import StoredFile
from orchestrator_core.contracts.pool import DeviceReport
from orchestrator_core.errors import Refusal
from orchestrator_core.gguf.facts import ModelFacts
from pool_core.catalog.arrivals.hub_access import HubAccess
from pool_core.catalog.arrivals.selection import Selection, Wish, select, wish_for
from pool_core.catalog.builtin import BuiltinModels
from pool_core.catalog.fitting import fits_of, pick_devices
from pool_core.catalog.headers import HeaderFacts, judge_facts, read_facts, read_file_facts
from pool_core.catalog.located import read_model_file
from pool_core.catalog.store.naming import stored_id
from pool_core.catalog.store.records import ModelRecord
from pool_core.catalog.store.store import Store
from pool_core.catalog.surroundings import Surroundings
from pool_core.catalog.views import files_view
from pool_core.fetch.hub_answers import Listing

__all__ = ["Inquiry"]


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One question about a model."""

    store: Store
    catalog: Catalog
    builtin: BuiltinModels
    around: Surroundings
    order: InfoOrder
    devices: Sequence[DeviceReport]

    def answer(self) -> ModelInfo | Refusal:
        """Look here first, then ask the hub."""
        records = self.store.records.all()
        builtin_ids = [report.id for report in self.builtin.reports()]
        found = stored_id(self.order.model, self.catalog, records, builtin_ids)
        if isinstance(found, str):
            record = next((it for it in records if it.id == found), None)
            return self._of_builtin(found) if record is None else self._of_record(record)
        reference = parse(self.order.model)
        if isinstance(reference, Reference) and reference.kind is ReferenceKind.FILE:
            return self._of_file(Path(reference.file or ""), None)
        entry = self.catalog.find(self.order.model)
        if entry is not None and entry.file.source == "file":
            return self._of_file(Path(entry.file.file), entry)
        wish = wish_for(self.order.model, self.catalog)
        return wish if isinstance(wish, Refusal) else self._of_hub(wish)

    def _of_builtin(self, model_id: str) -> ModelInfo | Refusal:
        entry = next(it for it in self.catalog.entries if it.id == model_id)
        path = self.builtin.folder / entry.file.file
        found = read_file_facts(path, model_id)
        if isinstance(found, Refusal):
            return found
        size_bytes = path.stat().st_size
        file = StoredFile(
            file=path.name, size_bytes=size_bytes, sha256=entry.file.sha256 or "", path=str(path)
        )
        info = ModelInfo(
            id=model_id,
            model=self.order.model,
            source="builtin",
            is_here=True,
            quant=entry.quant,
            files=[file],
            size_bytes=size_bytes,
        )
        return self._with_header(info, found, entry)

    def _of_file(self, path: Path, entry: CatalogEntry | None) -> ModelInfo | Refusal:
        """Any file of this host, which only its operator may ask about."""
        located = read_model_file(path, name=path.name)
        if isinstance(located, Refusal):
            return located
        paths = (path, *located.part_paths)
        sizes = (located.size_bytes, *located.part_bytes)
        info = ModelInfo(
            id=self.order.model if entry is None else entry.id,
            model=self.order.model,
            source="file",
            is_here=True,
            quant=None if entry is None else entry.quant,
            files=[
                StoredFile(file=it.name, size_bytes=size, sha256="", path=str(it))
                for it, size in zip(paths, sizes, strict=True)
            ],
            size_bytes=located.total_bytes,
        )
        return self._with_header(info, HeaderFacts(located.facts), entry)

    def _of_record(self, record: ModelRecord) -> ModelInfo | Refusal:
        paths = self.store.paths(record)
        found = read_file_facts(paths[record.files[0].file], record.id)
        if isinstance(found, Refusal):
            return self.store.fault_of(record) or found
        info = ModelInfo(
            id=record.id,
            model=self.order.model,
            name=record.name,
            source=record.source,
            is_here=True,
            repo=record.repo,
            commit=record.commit,
            quant=record.quant,
            license=record.license,
            files=files_view(record, paths),
            size_bytes=record.size_bytes,
            has_mmproj=record.mmproj is not None or record.mmproj_left_out,
        )
        return self._with_header(info, found, self.catalog.find(record.id))

    def _of_hub(self, wish: Wish) -> ModelInfo | Refusal:
        with HubAccess(self.store.folder, self.around) as access:
            listing = access.listing(wish.reference)
            if isinstance(listing, Refusal):
                return listing
            chosen = select(wish, listing, mmproj=True)
            if isinstance(chosen, Refusal):
                return chosen
            first = chosen.files[0]
            found = read_facts(
                chosen.id,
                first.size_bytes,
                lambda start, end: access.read(first, listing, start, end),
            )
        if isinstance(found, Refusal):
            return found
        judged = judge_facts(found.facts, chosen.id, first.size_bytes, len(chosen.files))
        if isinstance(judged, Refusal):
            return judged
        return self._with_header(_listed(self.order, chosen, listing), found, wish.entry)

    def _with_header(
        self, info: ModelInfo, found: HeaderFacts, entry: CatalogEntry | None
    ) -> ModelInfo | Refusal:
        targets = pick_devices(self.order, self.devices)
        if isinstance(targets, Refusal):
            return targets
        facts = found.facts
        weights_bytes = _weights(facts, info.files)
        fits = fits_of(facts, self.order, targets, entry=entry, weights_bytes=weights_bytes)
        known = {
            "name": info.name or facts.name,
            "quant": info.quant or facts.file_type,
            **_header_fields(facts),
            "header_bytes_read": found.read_bytes,
            "fits": fits,
        }
        if entry is not None:
            known |= {
                "name": entry.name,
                "description": entry.description,
                "license": info.license or entry.license,
            }
        return info.model_copy(update=known)


def _weights(facts: ModelFacts, files: Sequence[StoredFile]) -> int | None:
    """The weights of all parts; what reads images comes after them, and no worker opens it."""
    others = files[1 : facts.split_count]
    return facts.weights_bytes + sum(file.size_bytes for file in others) if others else None


def _listed(order: InfoOrder, chosen: Selection, listing: Listing) -> ModelInfo:
    """A model as its repository lists it; a small file's hash is not told there."""
    files = [
        StoredFile(file=it.path, size_bytes=it.size_bytes, sha256=it.sha256 or "", path="")
        for it in chosen.all_files
    ]
    return ModelInfo(
        id=chosen.id,
        model=order.model,
        source="hub",
        is_here=False,
        repo=listing.repo,
        commit=listing.commit,
        quant=chosen.quant,
        license=listing.license,
        files=files,
        size_bytes=sum(file.size_bytes for file in files),
        has_mmproj=chosen.mmproj is not None,
    )


def _header_fields(facts: ModelFacts) -> dict[str, object]:
    return {
        "architecture": facts.architecture,
        "file_type": facts.file_type,
        "parameters": facts.parameters,
        "trained_ctx": facts.trained_ctx,
        "blocks": facts.blocks,
        "embedding_length": facts.embedding_length,
        "head_count": facts.head_count,
        "kv_heads": list(facts.kv_heads),
        "vocab_size": facts.vocab_size,
        "expert_count": facts.expert_count,
        "sliding_window": facts.sliding_window,
        "has_chat_template": facts.has_chat_template,
    }
