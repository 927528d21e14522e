"""The models that come with the suite: files beside this module, described by the catalogue.

Their content is checked against the catalogue once per process, when a worker first needs it.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.pool import ModelFile, ModelReport
from orchestrator_core.errors import Code, Refusal

__all__ = ["BuiltinModels"]

_FOLDER: Final = Path(__file__).parent / "models"


class BuiltinModels:
    """Finds the packaged model files and vouches for their content."""

    def __init__(
        self, folder: Path = _FOLDER, entries: Iterable[CatalogEntry] | None = None
    ) -> None:
        known = Catalog.load().entries if entries is None else tuple(entries)
        self._folder = folder
        self._files = {entry.id: entry.file for entry in known if entry.file.source == "builtin"}
        self._verified: set[str] = set()

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self._folder

    def reports(self) -> list[ModelReport]:
        """Every built-in model whose file is there."""
        found: list[ModelReport] = []
        for model_id, known in self._files.items():
            path = self._folder / known.file
            if path.is_file():
                found.append(
                    ModelReport(
                        id=model_id,
                        file=known.file,
                        size_bytes=path.stat().st_size,
                        sha256=known.sha256,
                    )
                )
        return found

    def locate(self, model: ModelFile) -> Path | Refusal:
        """The checked file of a model; reads it once, so call it off the event loop."""
        if model.source != "builtin":
            return Refusal(
                Code.MODEL_NOT_PULLED,
                f"{model.model_id} is not on this host: only the built-in models are",
            )
        known = self._files.get(model.model_id)
        if known is None or known.file != model.file:
            return Refusal(Code.MODEL_NOT_FOUND, f"no built-in model is named {model.model_id}")
        if model.sha256 is not None and model.sha256 != known.sha256:
            return Refusal(
                Code.MODEL_NOT_PULLED,
                f"this host has another version of {model.model_id}: upgrade it or the orchestrator",
                {"wanted": model.sha256, "here": known.sha256},
            )
        path = self._folder / known.file
        return self._verify(model.model_id, path, known.sha256) or path

    def _verify(self, model_id: str, path: Path, sha256: str | None) -> Refusal | None:
        if model_id in self._verified:
            return None
        try:
            with path.open("rb") as stream:
                actual = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            return Refusal(Code.MODEL_NOT_PULLED, f"{path.name} cannot be read: {error.strerror}")
        if actual != sha256:
            return Refusal(
                Code.DATA_CORRUPT,
                f"{path.name} is damaged: its content does not match the catalogue; reinstall",
                {"expected": sha256, "actual": actual},
            )
        self._verified.add(model_id)
        return None
