"""The names that engines expect: each model has a folder in which its parts lie side by side.

The files are hard links to blobs and take up nothing. They can be laid out anew at any time.
"""

import contextlib
import os
import secrets
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path, PurePosixPath

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms.files import ensure_folder
from pool_core.catalog.store.records import ModelRecord, RecordedFile, slug_of
from pool_core.catalog.store.regular import look

__all__ = ["Shelf", "shelf_names"]


def shelf_names(record: ModelRecord) -> dict[str, RecordedFile]:
    """The name of each file on the shelf: that in its repository without the folders."""
    names = {PurePosixPath(file.file).name: file for file in record.files}
    if record.mmproj is not None:
        name = PurePosixPath(record.mmproj.file).name
        names[f"mmproj-{name}" if name in names else name] = record.mmproj
    return names


class Shelf:
    """The folder of the names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, model_id: str) -> Path:
        """The folder of one model."""
        return self.folder / slug_of(model_id)

    def lay_out(self, record: ModelRecord, blobs: Mapping[str, Path]) -> Refusal | None:
        """Make the names of a model that are missing or wrong, and take away what is not its own."""
        place = self.place(record.id)
        names = shelf_names(record)
        try:
            _make_folder(place)
            for name, file in names.items():
                _link(blobs[file.sha256], place / name)
            _clear(place, keep=names)
        except OSError as error:
            line = f"{record.id} cannot be laid out in {place}: {error.strerror}"
            return Refusal(Code.DATA_CORRUPT, line)
        return None

    def keep_only(self, model_ids: Iterable[str]) -> None:
        """Take away the places of all other models."""
        slugs = {slug_of(model_id) for model_id in model_ids}
        for place in self.folder.iterdir() if self.folder.is_dir() else ():
            if place.name not in slugs:
                self._remove(place)

    def remove(self, model_id: str) -> None:
        """Take all names of a model away."""
        self._remove(self.place(model_id))

    def links(self, records: Iterable[ModelRecord]) -> dict[tuple[int, int], int]:
        """How many names of these models each file has here, by device and inode."""
        counts: dict[tuple[int, int], int] = {}
        for record in records:
            for name in shelf_names(record):
                with contextlib.suppress(OSError):
                    status = look(self.place(record.id) / name)
                    key = (status.st_dev, status.st_ino)
                    counts[key] = counts.get(key, 0) + 1
        return counts

    def _remove(self, place: Path) -> None:
        if place.is_symlink():
            place.unlink()
        elif place.is_dir():
            _clear(place)
            with contextlib.suppress(OSError):
                place.rmdir()


def _make_folder(place: Path) -> None:
    # A link could lead to a folder of somebody else, whose files would then be taken away.
    if place.is_symlink():
        place.unlink()
    ensure_folder(place)


def _clear(place: Path, keep: Collection[str] = ()) -> None:
    for path in place.iterdir():
        if path.name not in keep and not path.is_dir():
            path.unlink()


def _link(blob: Path, name: Path) -> None:
    wanted = look(blob)
    with contextlib.suppress(OSError):
        there = look(name)
        if (there.st_dev, there.st_ino) == (wanted.st_dev, wanted.st_ino):
            return
    # A running engine may read the old file: the new one takes its name in one step.
    draft = name.with_name(f".{secrets.token_hex(8)}.new")
    os.link(blob, draft, follow_symlinks=False)
    draft.replace(name)
