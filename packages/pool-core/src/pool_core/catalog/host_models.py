"""Finds the file of a model that a worker shall hold: built in, or any file of this host.

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

__all__ = ["HostModels"]

_HASHED_BYTES: Final = 64 * MIB


class HostModels:
    """Every model that this host can start a worker with."""

    def __init__(self, builtin: BuiltinModels | None = None) -> None:
        self._builtin = BuiltinModels() if builtin is None else builtin
        self._cache = FactsCache()

    def reports(self) -> list[ModelReport]:
        """The models that the host offers by itself: the built-in ones."""
        return self._builtin.reports()

    def locate(self, model: ModelFile) -> Located | Refusal:
        """The file of a model, with the facts of its header."""
        if model.source == "file":
            return self._locate_file(model)
        if model.source == "external":
            return Refusal(
                Code.INVALID_REQUEST,
                f"{model.model_id} is served by an engine outside: it has no file on this host",
                {"field": "spec.model.source"},
            )
        path = self._builtin.locate(model)
        if isinstance(path, Refusal):
            return path
        return read_model_file(path, name=model.model_id, cache=self._cache)

    def _locate_file(self, model: ModelFile) -> Located | Refusal:
        if "\0" in model.file or not Path(model.file).is_absolute():
            return Refusal(
                Code.INVALID_REQUEST,
                f"the file of {model.model_id} must be named by its whole path on this host",
                {"field": "spec.model.file"},
            )
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


def _other_version(model: ModelFile, field: str, wanted: object, here: object) -> Refusal:
    return Refusal(
        Code.MODEL_NOT_PULLED,
        f"this host has another version of {model.model_id}: its {field} is not the wanted one",
        {"field": field, "wanted": wanted, "here": here},
    )
