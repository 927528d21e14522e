"""Finds the id under which a model lies here from what a person wrote: a name, an id, a reference.

A reference to the hub that names no quantization stands for the usual one, or for the only model
of its repository that is here. Nothing is asked of any hub.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.catalog.gguf_names import choose
from orchestrator_core.catalog.held import meant_by
from orchestrator_core.catalog.reference import ReferenceKind, parse
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.store.records import ModelRecord, report_of

__all__ = ["find_record", "not_here", "stored_id"]

_FILE_HINT: Final = "models of the store go by their ids: see llorch-pool models list"


def stored_id(
    text: str, catalog: Catalog, records: Sequence[ModelRecord], builtin: Sequence[str]
) -> str | Refusal:
    """The id of a model that is here, or why there is none."""
    ids = {*builtin, *(record.id for record in records)}
    if text in ids:
        return text
    entry = catalog.find(text)
    if entry is not None and entry.id in ids:
        return entry.id
    reference = parse(text)
    if isinstance(reference, Refusal):
        return reference
    if reference.kind is ReferenceKind.FILE:
        return Refusal(Code.INVALID_REQUEST, f"{text} is a path: {_FILE_HINT}")
    if reference.kind is ReferenceKind.HUB:
        record = find_record(text, records)
        return record.id if record is not None else not_here(entry.id if entry else text)
    if entry is not None:
        return not_here(entry.id)
    unknown = catalog.resolve(text, ids)
    return unknown if isinstance(unknown, Refusal) else not_here(unknown.id)


def find_record(text: str, records: Sequence[ModelRecord]) -> ModelRecord | None:
    """The model that a text names, if it is here; of several the one that a hub would choose."""
    by_id = {record.id: record for record in records}
    meant = [by_id[it.id] for it in meant_by(text, (report_of(record) for record in records))]
    if len(meant) < 2:
        return meant[0] if meant else None
    files = {record.files[0].file: record for record in meant}
    chosen = choose([_Named(path) for path in files])
    return None if isinstance(chosen, Refusal) else files.get(chosen.first.path)


def not_here(model_id: str) -> Refusal:
    """The answer for a model that would first have to be fetched."""
    line = f"{model_id} is not on this host: llorch-pool models download {model_id}"
    return Refusal(Code.MODEL_NOT_PULLED, line, {"model": model_id})


@dataclass(frozen=True, slots=True)
class _Named:
    path: str
