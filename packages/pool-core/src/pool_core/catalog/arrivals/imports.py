"""Takes files of this host into the store as models; the files themselves stay where they are.

A file that the catalogue knows by its content becomes that very model, so that a machine without
a network can be supplied by hand.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.catalog.gguf_names import quant_of, safe_relative, split_of
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.models import ImportOrder
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.gguf.facts import ModelFacts
from pool_core.catalog.arrivals.intake import Intake, Way
from pool_core.catalog.located import read_model_file
from pool_core.catalog.store.records import ModelRecord, RecordedFile
from pool_core.catalog.store.store import Store
from pool_core.fetch.cancel import Cancel

__all__ = ["Importing", "id_from"]

_WAYS: Final[dict[str, tuple[Way, ...]]] = {
    # Shared edits are worse than a link, and a copy costs the most.
    "auto": (Way.REFLINK, Way.HARDLINK, Way.COPY),
    "hardlink": (Way.HARDLINK,),
    "reflink": (Way.REFLINK,),
    "copy": (Way.COPY,),
}
_NOT_ALLOWED: Final = re.compile(r"[^a-z0-9._-]+")
_ID_LENGTH: Final = 64
_WORDS: Final = {Way.HARDLINK: "linked", Way.REFLINK: "cloned", Way.COPY: "copied"}


@dataclass(frozen=True, slots=True)
class Importing:
    """One act of importing."""

    store: Store
    catalog: Catalog
    intake: Intake
    tell: Callable[[str, int, int], None]
    cancel: Cancel

    def take_file(self, path: Path, order: ImportOrder) -> ModelRecord | Refusal:
        """Take one model: a file, or the first part with the others beside it."""
        found = read_model_file(path, name=order.id or path.name)
        if isinstance(found, Refusal):
            return found
        files = _files_of(path, found.facts)
        model_id = order.id or id_from(path.name)
        refusal = _refuse_names(files, model_id) or self._refuse_early(files, model_id)
        if refusal is not None or model_id is None:
            return refusal or _no_id(path)
        with self.store.claims.hold(model_id):
            recorded = self._take(files, _WAYS[order.method])
            if isinstance(recorded, Refusal):
                return recorded
            record = self._record(recorded, model_id, found.facts, is_named=order.id is not None)
            kept = record if isinstance(record, Refusal) else self._keep(record)
            if isinstance(kept, Refusal):
                self.store.discard([file.sha256 for file in recorded])
            return kept

    def _take(
        self, files: Sequence[Path], ways: Sequence[Way]
    ) -> tuple[RecordedFile, ...] | Refusal:
        recorded: list[RecordedFile] = []
        for path in files:
            size_bytes = path.stat().st_size

            def tell(done_bytes: int, path: Path = path, size_bytes: int = size_bytes) -> None:
                self.tell(path.name, done_bytes, size_bytes)

            taken = self.intake.take(path, ways, tell=tell, cancel=self.cancel)
            if isinstance(taken, Refusal):
                self.store.discard([file.sha256 for file in recorded])
                return taken
            self.tell(f"{path.name} ({_WORDS[taken.way]})", taken.size_bytes, taken.size_bytes)
            recorded.append(
                RecordedFile(file=path.name, size_bytes=taken.size_bytes, sha256=taken.sha256)
            )
        return tuple(recorded)

    def _record(
        self, files: tuple[RecordedFile, ...], model_id: str, facts: ModelFacts, *, is_named: bool
    ) -> ModelRecord | Refusal:
        known = self._known(files)
        entry = None if known is None or (is_named and known.id != model_id) else known
        by_name = self.catalog.find(model_id)
        if entry is None and by_name is not None:
            line = f"{model_id} is the name of another model in the catalogue: choose one by --id"
            return Refusal(Code.CONFLICT, line)
        now = self.store.now()
        return ModelRecord(
            id=model_id if entry is None else entry.id,
            source="file" if entry is None else "hub",
            name=facts.name if entry is None else entry.name,
            repo=None if entry is None else entry.file.repo,
            commit=None if entry is None else entry.file.commit,
            quant=quant_of(files[0].file) or facts.file_type,
            license=None if entry is None else entry.license,
            files=files if entry is None else _as_listed(files, entry),
            architecture=facts.architecture,
            trained_ctx=facts.trained_ctx,
            added_at=now,
            verified_at=now,
        )

    def _known(self, files: Sequence[RecordedFile]) -> CatalogEntry | None:
        """The entry of the catalogue that consists of exactly these contents."""
        contents = [file.sha256 for file in files]
        for entry in self.catalog.entries:
            listed = [entry.file.sha256, *(part.sha256 for part in entry.file.parts)]
            if entry.file.source == "hub" and listed == contents:
                return entry
        return None

    def _keep(self, record: ModelRecord) -> ModelRecord | Refusal:
        def refuse(before: ModelRecord) -> Refusal | None:
            return _taken(record.id) if _contents(before) != _contents(record) else None

        before = self.store.records.get(record.id)
        if before is not None and refuse(before) is None:
            # Nothing new, but a content that was damaged or gone is sound again.
            record = before.model_copy(update={"verified_at": record.verified_at})
        # Another import may take the name until the store is held.
        return self.store.keep(record, refuse=refuse) or record

    def _refuse_early(self, files: Sequence[Path], model_id: str | None) -> Refusal | None:
        """Spare the reading of files whose sizes say already that they are another model's."""
        before = self.store.records.get(model_id) if model_id is not None else None
        if before is None or model_id is None:
            return None
        sizes = [file.size_bytes for file in before.files]
        return None if sizes == [path.stat().st_size for path in files] else _taken(model_id)


def _contents(record: ModelRecord) -> list[str]:
    return [file.sha256 for file in record.files]


def id_from(name: str) -> str | None:
    """An id made of the name of a file, or None where nothing of it is left."""
    split = split_of(name)
    stem = split.stem if split else name.removesuffix(".gguf")
    made = _NOT_ALLOWED.sub("-", stem.lower()).lstrip("._-")[:_ID_LENGTH].rstrip("._-")
    return made or None


def _files_of(path: Path, facts: ModelFacts) -> list[Path]:
    count = facts.split_count
    first = f"-{1:05d}-of-{count:05d}.gguf"
    stem = path.name.removesuffix(first)
    others = (f"{stem}-{number:05d}-of-{count:05d}.gguf" for number in range(2, count + 1))
    return [path, *(path.with_name(name) for name in others)]


def _as_listed(files: Sequence[RecordedFile], entry: CatalogEntry) -> tuple[RecordedFile, ...]:
    """The same contents under the names that the catalogue gives them."""
    names = [entry.file.file, *(part.file for part in entry.file.parts)]
    pairs = zip(files, names, strict=True)
    return tuple(file.model_copy(update={"file": name}) for file, name in pairs)


def _refuse_names(files: Sequence[Path], model_id: str | None) -> Refusal | None:
    if model_id is None:
        return _no_id(files[0])
    checked = (safe_relative(path.name) for path in files)
    return next((it for it in checked if isinstance(it, Refusal)), None)


def _no_id(path: Path) -> Refusal:
    line = f"the name {path.name!a} makes no id: choose one by --id"
    return Refusal(Code.INVALID_REQUEST, line)


def _taken(model_id: str) -> Refusal:
    line = f"{model_id} is here already with other content: choose another name by --id"
    return Refusal(Code.CONFLICT, line)
