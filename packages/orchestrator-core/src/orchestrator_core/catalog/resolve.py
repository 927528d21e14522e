"""Turns what a person wrote into a catalogue entry, or names the nearest ones.

The entries come from the packaged catalog.toml; orchestrator and pools use this same resolver.
"""

import difflib
import tomllib
from collections.abc import Collection, Iterable, Mapping
from importlib import resources
from typing import Final, cast

from pydantic import ValidationError

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.catalog.reference import Reference, ReferenceKind, parse
from orchestrator_core.errors import Code, DataError, Refusal

__all__ = ["Catalog"]

_NEAREST: Final = 3


class Catalog:
    """All known models; ids and aliases share one space of names."""

    def __init__(self, entries: Iterable[CatalogEntry]) -> None:
        self._entries = tuple(entries)
        self._by_name: dict[str, CatalogEntry] = {}
        for entry in self._entries:
            for name in (entry.id, *entry.aliases):
                if name in self._by_name:
                    raise _broken(f'the name "{name}" is given twice')
                self._by_name[name] = entry

    @classmethod
    def load(cls) -> "Catalog":
        """Read the packaged catalogue."""
        return cls.from_toml(
            resources.files("orchestrator_core.catalog").joinpath("catalog.toml").read_text("utf-8")
        )

    @classmethod
    def from_toml(cls, text: str) -> "Catalog":
        """Read a catalogue; duplicate names and unknown keys are refused."""
        try:
            tree: dict[str, object] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise _broken(str(error)) from error
        models = tree.pop("models", [])
        if tree or not isinstance(models, list):
            raise _broken("it holds [[models]] tables and nothing else")
        return cls(_entry(model) for model in cast("list[object]", models))

    @property
    def entries(self) -> tuple[CatalogEntry, ...]:
        """All entries in the order of the file."""
        return self._entries

    def resolve(self, text: str, others: Collection[str] = ()) -> CatalogEntry | Refusal:
        """Find the entry of an alias, an id or a reference to the same file.

        A refusal also offers others: names that are known elsewhere.
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
        return next((entry for entry in self._entries if _is_file_of(entry, reference)), None)

    def _unknown(self, text: str, others: Collection[str]) -> Refusal:
        names = {**self._by_name, **dict.fromkeys(others)}
        nearest = difflib.get_close_matches(text, names, n=_NEAREST, cutoff=0.0)
        hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
        details = {"model": text, "nearest": nearest}
        return Refusal(Code.MODEL_NOT_FOUND, f'there is no model "{text}"{hint}', details)


def _entry(model: object) -> CatalogEntry:
    if not isinstance(model, dict):
        raise _broken("it holds [[models]] tables and nothing else")
    tree = dict(cast("Mapping[str, object]", model))
    file = tree.get("file")
    if isinstance(file, dict):
        # The file is named by its model, so the catalogue need not say the id twice.
        tree["file"] = {"model_id": tree.get("id"), **cast("dict[str, object]", file)}
    try:
        return CatalogEntry.model_validate(tree)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise _broken(f'model {tree.get("id")!r}, key "{key}": {problem["msg"]}') from error


def _is_file_of(entry: CatalogEntry, reference: Reference) -> bool:
    file = entry.file
    match reference.kind:
        case ReferenceKind.HUB:
            return (
                reference.quant is None
                and file.repo == reference.repo
                and reference.file in (None, file.file)
                and reference.revision in (None, file.commit)
            )
        case ReferenceKind.FILE:
            return file.source == "file" and file.file == reference.file
        case ReferenceKind.ALIAS:
            return False


def _broken(reason: str) -> DataError:
    return DataError(Refusal(Code.DATA_CORRUPT, f"catalogue: {reason}"))
