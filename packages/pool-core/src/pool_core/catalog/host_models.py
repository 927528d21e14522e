"""Finds the file of a model that a worker shall hold: built in, of the store, or any of this host.

Takes what the catalogue or a person names, and answers with a file whose header was read and
found sound, or with the reason why there is none. It reads files: call it off the event loop.
"""

from pathlib import Path
from typing import Final

from orchestrator_core.contracts.pool import ModelFile, ModelReport
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import MIB
from pool_core.catalog.builtin import BuiltinModels
from pool_core.catalog.located import FactsCache, Located, hash_model_file, read_model_file
from pool_core.catalog.store.naming import find_record, not_here
from pool_core.catalog.store.records import ModelRecord
from pool_core.catalog.store.store import Store

__all__ = ["HostModels"]

_HASHED_BYTES: Final = 64 * MIB


class HostModels:
    """Every model that this host can start a worker with; without a store the built-in ones."""

    def __init__(self, builtin: BuiltinModels | None = None, store: Store | None = None) -> None:
        self._builtin = BuiltinModels() if builtin is None else builtin
        self._store = store
        self._cache = FactsCache()

    def reports(self) -> list[ModelReport]:
        """The models that the host offers by itself; cheap enough for each heartbeat."""
        stored = self._store.reports() if self._store is not None else []
        return [*self._builtin.reports(), *stored]

    def locate(self, model: ModelFile) -> Located | Refusal:
        """The file of a model, with the facts of its header."""
        if model.source == "external":
            return Refusal(
                Code.INVALID_REQUEST,
                f"{model.model_id} is served by an engine outside: it has no file on this host",
                {"field": "spec.model.source"},
            )
        if model.source == "builtin":
            path = self._builtin.locate(model)
            if isinstance(path, Refusal):
                return path
            return read_model_file(path, name=model.model_id, cache=self._cache)
        if model.source == "file" and ("\0" in model.file or Path(model.file).is_absolute()):
            return self._locate_file(model)
        if self._store is None:
            return not_here(model.model_id) if model.source == "hub" else _not_whole(model)
        return self._locate_stored(self._store, model)

    def _locate_stored(self, store: Store, model: ModelFile) -> Located | Refusal:
        record = _record_of(store, model)
        if record is None:
            return not_here(model.model_id) if model.source == "hub" else _not_imported(model)
        first = record.files[0]
        if model.sha256 not in (None, first.sha256):
            return _other_version(model, "sha256", model.sha256, first.sha256)
        # Equal contents are the same model whatever commit they were found in.
        if model.sha256 is None and model.commit not in (None, record.commit):
            return _other_version(model, "commit", model.commit, record.commit)
        path = store.usable_path(record)
        if isinstance(path, Refusal):
            return path
        found = read_model_file(path, name=record.id, cache=self._cache)
        if isinstance(found, Located):
            store.records.touch(record.id, store.clock.unix_ms())
        return found

    def _locate_file(self, model: ModelFile) -> Located | Refusal:
        if "\0" in model.file:
            return _not_whole(model)
        path = Path(model.file)
        found = read_model_file(path, name=model.model_id, cache=self._cache)
        if isinstance(found, Refusal):
            return found
        if model.size_bytes is not None and model.size_bytes != found.size_bytes:
            return _other_version(model, "size_bytes", model.size_bytes, found.size_bytes)
        # Hashing tens of gigabytes would delay every start by minutes, so that only small files
        # are held against a given hash; a person who names a large file vouches for it.
        if model.sha256 is None or found.size_bytes >= _HASHED_BYTES:
            return found
        actual = hash_model_file(path, name=model.model_id)
        if isinstance(actual, Refusal):
            return actual
        if actual == model.sha256:
            return found
        return _other_version(model, "sha256", model.sha256, actual)


def _record_of(store: Store, model: ModelFile) -> ModelRecord | None:
    """The record of a model by its id, else by its content, else by its place on the hub."""
    record = store.records.get(model.model_id)
    if record is not None:
        return record
    records = store.records.all()
    if model.sha256 is not None:
        same = [it for it in records if it.files[0].sha256 == model.sha256]
        return same[0] if same else None
    return find_record(model.model_id, records)


def _not_whole(model: ModelFile) -> Refusal:
    return Refusal(
        Code.INVALID_REQUEST,
        f"the file of {model.model_id} must be named by its whole path on this host",
        {"field": "spec.model.file"},
    )


def _not_imported(model: ModelFile) -> Refusal:
    line = f"{model.model_id} is not on this host: llorch-pool models import PATH --id"
    return Refusal(Code.MODEL_NOT_PULLED, f"{line} {model.model_id}", {"model": model.model_id})


def _other_version(model: ModelFile, field: str, wanted: object, here: object) -> Refusal:
    line = f"this host has another version of {model.model_id}: its {field} is not the wanted one"
    if model.source == "hub":
        line = f"{line}: llorch-pool models download {model.model_id} --force"
    details = {"field": field, "wanted": wanted, "here": here}
    return Refusal(Code.MODEL_NOT_PULLED, line, details)
