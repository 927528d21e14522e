"""Makes the record of a model of the hub once all of its files are in the store.

The header of the first file is judged before, so that nothing is recorded that no engine can read.
"""

from collections.abc import Mapping

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.errors import Refusal
from pool_core.catalog.arrivals.selection import Selection
from pool_core.catalog.headers import judge_model
from pool_core.catalog.store.records import ModelRecord, RecordedFile
from pool_core.catalog.store.store import Store
from pool_core.fetch.hub_answers import Listing

__all__ = ["keep_model"]


def keep_model(
    store: Store,
    chosen: Selection,
    listing: Listing,
    recorded: Mapping[str, RecordedFile],
    entry: CatalogEntry | None,
) -> ModelRecord | Refusal:
    """Judge, record and lay out a model; what cannot be one is taken away again."""
    gone = store.refuse_gone(chosen.id, recorded.values())
    if gone is not None:
        return gone
    files = tuple(recorded[file.path] for file in chosen.files)
    first = files[0]
    path = store.blobs.path(first.sha256)
    facts = judge_model(path, first.file, size_bytes=first.size_bytes, count=len(files))
    if isinstance(facts, Refusal):
        store.discard([file.sha256 for file in recorded.values()])
        return facts
    now = store.now()
    record = ModelRecord(
        id=chosen.id,
        # What a peer gave that no hub knows was once taken in by a person.
        source="hub" if listing.repo else "file",
        name=entry.name if entry is not None else facts.name,
        repo=listing.repo or None,
        commit=listing.commit or None,
        quant=chosen.quant or facts.file_type,
        license=listing.license or (entry.license if entry is not None else None),
        files=files,
        mmproj=recorded[chosen.mmproj.path] if chosen.mmproj is not None else None,
        mmproj_left_out=chosen.mmproj_left_out,
        architecture=facts.architecture,
        trained_ctx=facts.trained_ctx,
        added_at=now,
        verified_at=now,
    )
    return store.keep(record) or record
