"""One record for each model of the store: where it came from and which files it consists of.

A record is written atomically and read strictly. One that makes no sense is renamed out of the
way and told, and one that a newer version wrote is left alone; neither ever stops the others.
"""

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal, cast

from pydantic import AfterValidator, Field, ValidationError

from orchestrator_core.catalog.gguf_names import safe_relative
from orchestrator_core.contracts.base import Order
from orchestrator_core.contracts.pool import Commit, ModelReport, Sha256
from orchestrator_core.errors import Refusal
from orchestrator_core.platforms.files import ensure_folder, sync_folder, write_atomically
from orchestrator_core.units import MIB
from pool_core.catalog.store.regular import read_regular

__all__ = ["ModelRecord", "RecordedFile", "Records", "report_of", "slug_of"]

_VERSION: Final = 1
_MAX_BYTES: Final = 4 * MIB
_MAX_RECORDS: Final = 4096
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_SLUG_LENGTH: Final = 80


def _safe_path(path: str) -> str:
    checked = safe_relative(path)
    if isinstance(checked, Refusal):
        raise ValueError(checked.message)  # noqa: TRY004 - the value is at fault, not its type
    return checked


def _safe_id(text: str) -> str:
    if not text.isprintable() or text != text.strip():
        raise ValueError("is no id of a model")
    return text


class RecordedFile(Order):
    """One file of a model: its name in its repository or folder, and its content."""

    file: Annotated[str, AfterValidator(_safe_path)]
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class ModelRecord(Order):
    """A model of the store; the first of its files is what an engine opens."""

    schema_version: Literal[1] = 1
    id: Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_safe_id)]
    source: Literal["hub", "file"]
    name: str | None = None
    repo: str | None = None
    commit: Commit | None = None
    quant: str | None = None
    license: str | None = None
    files: Annotated[tuple[RecordedFile, ...], Field(min_length=1, max_length=16_384)]
    mmproj: RecordedFile | None = None
    mmproj_left_out: bool = False
    """The repository has a part that reads images, and the download did without it."""

    architecture: str | None = None
    trained_ctx: int | None = None
    added_at: str | None = None
    verified_at: str | None = None

    @property
    def all_files(self) -> tuple[RecordedFile, ...]:
        """Everything that belongs to the model, the file that an engine opens first."""
        return self.files if self.mmproj is None else (*self.files, self.mmproj)

    @property
    def blobs(self) -> dict[str, int]:
        """The content of its files, each once, with its size."""
        return {file.sha256: file.size_bytes for file in self.all_files}

    @property
    def size_bytes(self) -> int:
        """What its files take up."""
        return sum(self.blobs.values())


class Records:
    """The folder of the records; say is told what was set aside."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        self.folder = folder
        self._say = say

    def all(self) -> list[ModelRecord]:
        """Every record that can be read, in the order of their ids."""
        paths = sorted(self.folder.glob("*.json"))[:_MAX_RECORDS]
        found = [record for path in paths if (record := self._read(path)) is not None]
        return sorted(found, key=lambda record: record.id)

    def contents(self) -> set[str] | None:
        """Every content that a record names, so that nobody deletes it.

        None where there is a record that cannot be read: who knows what it names.
        """
        records = self.all()
        if self.has_more(len(records)):
            return None
        return {sha256 for record in records for sha256 in record.blobs}

    def has_more(self, read: int) -> bool:
        """True when there are more records than the ones that could be read."""
        return sum(1 for _ in self.folder.glob("*.json")) > read

    def drafts(self) -> list[Path]:
        """What killed writers have left behind."""
        return sorted(self.folder.glob(".*.new"))

    def get(self, model_id: str) -> ModelRecord | None:
        """The record of one model."""
        return self._read(self._path(model_id))

    def write(self, record: ModelRecord) -> None:
        """Store a record for good."""
        ensure_folder(self.folder)
        data = record.model_dump_json(indent=1, exclude_none=True).encode()
        write_atomically(self._path(record.id), data)

    def remove(self, model_id: str) -> None:
        """Forget a model."""
        path = self._path(model_id)
        path.unlink(missing_ok=True)
        path.with_suffix(".used").unlink(missing_ok=True)
        # Its contents go next, and a power cut must not bring back a record without them.
        sync_folder(self.folder)

    def touch(self, model_id: str, unix_ms: int) -> None:
        """Note that a model was used now; not worth a failure where the disk refuses."""
        stamp = self._path(model_id).with_suffix(".used")
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(stamp, flags, 0o600)
            try:
                os.utime(descriptor, ns=(unix_ms * 1_000_000, unix_ms * 1_000_000))
            finally:
                os.close(descriptor)

    def used_unix_ms(self, model_id: str) -> int | None:
        """When a worker was last started from a model, as far as it is known."""
        try:
            status = self._path(model_id).with_suffix(".used").lstat()
        except OSError:
            return None
        return status.st_mtime_ns // 1_000_000

    def _path(self, model_id: str) -> Path:
        return self.folder / f"{slug_of(model_id)}.json"

    def _read(self, path: Path) -> ModelRecord | None:
        try:
            data = read_regular(path, max_bytes=_MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._say(f"the record {path.name} cannot be read: {error.strerror}")
            return None
        record = _parse(data, path.stem)
        if isinstance(record, ModelRecord):
            return record
        if record is None:
            self._say(f"the record {path.name} is of a newer version: upgrade to use its model")
            return None
        with contextlib.suppress(OSError):
            path.replace(path.with_suffix(".damaged"))
        self._say(f"the record {path.name} is damaged and was set aside: {record}")
        return None


def report_of(record: ModelRecord) -> ModelReport:
    """A model as its pool reports it."""
    return ModelReport(
        id=record.id,
        file=record.files[0].file,
        size_bytes=record.size_bytes,
        sha256=record.files[0].sha256,
        source=record.source,
        repo=record.repo,
        commit=record.commit,
        trained_ctx=record.trained_ctx,
    )


def slug_of(model_id: str) -> str:
    """A file name for an id that a person still recognises and that no other id has."""
    readable = _UNSAFE.sub("_", model_id)[:_SLUG_LENGTH].lstrip(".-") or "_"
    return f"{readable}-{hashlib.sha256(model_id.encode()).hexdigest()[:12]}"


def _parse(data: bytes, slug: str) -> ModelRecord | str | None:
    """The record, or in words what is wrong with it, or None where a newer version wrote it."""
    try:
        tree: object = json.loads(data)
    except (ValueError, RecursionError):
        return "it is no JSON"
    if isinstance(tree, dict):
        version = cast("dict[str, object]", tree).get("schema_version")
        if isinstance(version, int) and version > _VERSION:
            return None
    try:
        record = ModelRecord.model_validate(tree)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        return f"{'.'.join(map(str, problem['loc'])) or 'its content'}: {problem['msg']}"
    return record if slug_of(record.id) == slug else "it names another model"
