"""What this host serves to other pools: whole models of its store, and the contents they name.

A content that no sound record names is not there for anybody, whatever lies in the folder.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator_core.contracts.sharing import (
    SHARED_MODELS_MAX,
    SharedFile,
    SharedModel,
)
from pool_core.catalog.store.naming import find_record
from pool_core.catalog.store.records import ModelRecord, RecordedFile
from pool_core.catalog.store.store import Store

__all__ = ["OpenContent", "SharedModels"]


@dataclass(frozen=True, slots=True)
class OpenContent:
    """An open file of the store; whoever got it closes it."""

    descriptor: int
    size_bytes: int

    def read(self, start: int, size_bytes: int) -> bytes:
        """The bytes from start on, fewer at the end of the file."""
        return os.pread(self.descriptor, size_bytes, start)

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)


class SharedModels:
    """The part of a store that other pools may copy; everything blocks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def models(self, text: str | None = None) -> list[SharedModel]:
        """Every whole model, or the one that a name or a reference to the hub stands for."""
        records = self._store.sound.now().records
        meant = records if text is None else _meant(text, records)
        return [_shared(record) for record in meant[:SHARED_MODELS_MAX]]

    def open(self, sha256: str) -> OpenContent | None:
        """A content that a whole model names; None where there is none."""
        size_bytes = self._store.sound.now().sizes.get(sha256)
        if size_bytes is None:
            return None
        try:
            descriptor = self._store.blobs.open(sha256)
        except OSError:
            return None
        if os.fstat(descriptor).st_size != size_bytes:
            os.close(descriptor)
            return None
        return OpenContent(descriptor, size_bytes)


def _meant(text: str, records: Sequence[ModelRecord]) -> Sequence[ModelRecord]:
    exact = next((record for record in records if record.id == text), None)
    found = exact or find_record(text, records)
    return () if found is None else (found,)


def _shared(record: ModelRecord) -> SharedModel:
    return SharedModel(
        id=record.id,
        source=record.source,
        name=record.name,
        repo=record.repo,
        commit=record.commit,
        quant=record.quant,
        license=record.license,
        files=tuple(_file(file) for file in record.files),
        mmproj=_file(record.mmproj) if record.mmproj is not None else None,
        mmproj_left_out=record.mmproj_left_out,
    )


def _file(file: RecordedFile) -> SharedFile:
    return SharedFile(file=file.file, size_bytes=file.size_bytes, sha256=file.sha256)
