"""The models of one folder: records, their contents, and the names that engines expect.

Every change happens under one lock and leaves records whose contents are all here, so that
commands, the daemon and downloads of several processes can work on one store.
"""

import contextlib
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable
from pathlib import Path

from orchestrator_core.clock import Clock, SystemClock, rfc3339
from orchestrator_core.contracts.pool import ModelReport
from orchestrator_core.errors import Code, LlorchError, Refusal, RequestError
from orchestrator_core.platforms.files import ensure_folder
from pool_core.catalog.host_faults import explain_host
from pool_core.catalog.store.accounts import Accounts, Holding
from pool_core.catalog.store.blobs import Blobs
from pool_core.catalog.store.claims import Claims, hold_store
from pool_core.catalog.store.records import ModelRecord, RecordedFile, Records
from pool_core.catalog.store.regular import look
from pool_core.catalog.store.shelf import Shelf, shelf_names
from pool_core.catalog.store.sound import SoundModels

__all__ = ["Store"]


def _say_nothing(line: str) -> None:
    del line


def _replace_any(before: ModelRecord) -> None:
    del before


class Store:
    """One models folder."""

    def __init__(
        self,
        folder: Path,
        *,
        clock: Clock | None = None,
        say: Callable[[str], None] = _say_nothing,
    ) -> None:
        if not folder.is_absolute():
            line = f"models_folder must be named by its whole path, not {str(folder)!r}"
            raise RequestError(Refusal(Code.CONFIG_INVALID, line))
        self.folder = folder
        self.clock = clock or SystemClock()
        self.say = say
        self.records = Records(folder / "records", say)
        self.blobs = Blobs(folder / "blobs")
        self.shelf = Shelf(folder / "shelf")
        self.claims = Claims(folder / "claims")
        self.partials = folder / "partial"
        self.sound = SoundModels(self.records, self.blobs, self.fault_of)

    def prepare(self) -> None:
        """Make the folders; one that is a link to elsewhere is refused."""
        own = (self.records, self.blobs, self.shelf, self.claims)
        for folder in (*(it.folder for it in own), self.partials):
            ensure_folder(folder)
            if not stat.S_ISDIR(folder.lstat().st_mode):
                line = f"{folder} is a link, so it could lead anywhere: name its target instead"
                raise RequestError(Refusal(Code.CONFIG_INVALID, f"{line} in models_folder"))

    @contextlib.contextmanager
    def hold(self) -> Generator[None]:
        """Be the only one who changes the store."""
        self.prepare()
        with hold_store(self.folder / "store.lock"):
            yield

    def now(self) -> str:
        """The time as records spell it."""
        return rfc3339(self.clock.unix_ms())

    def fault_of(self, record: ModelRecord) -> Refusal | None:
        """Why a model cannot be used, or None; nothing is read but what the files are."""
        for file in record.all_files:
            try:
                status = self.blobs.look(file.sha256)
            except FileNotFoundError:
                return _incomplete(record, f"{file.file} is gone")
            except OSError as error:
                return _incomplete(record, f"{file.file} cannot be used: {error.strerror}")
            if status.st_size != file.size_bytes:
                return _incomplete(record, f"{file.file} has another size")
            if self.blobs.is_damaged(file.sha256):
                return _incomplete(record, f"{file.file} is damaged")
        return None

    def keep(
        self,
        record: ModelRecord,
        *,
        refuse: Callable[[ModelRecord], Refusal | None] = _replace_any,
    ) -> Refusal | None:
        """Write a record whose contents are here and lay out its files, or do nothing.

        A record that is there already is replaced, unless refuse says why it must not be.
        """
        with self.hold():
            before = self.records.get(record.id)
            fault = refuse(before) if before is not None else None
            fault = fault or self.refuse_gone(record.id, record.all_files) or self.lay_out(record)
            if fault is not None:
                return fault
            self.records.write(record)
            if before is not None:
                self._drop(before.blobs.keys() - record.blobs.keys())
        return None

    def refuse_gone(self, model_id: str, files: Iterable[RecordedFile]) -> Refusal | None:
        """Whether files that have come here for a model were deleted before it was recorded."""
        if all(self.blobs.holds(file.sha256, file.size_bytes) for file in files):
            return None
        return Refusal(Code.CONFLICT, f"files of {model_id} were deleted meanwhile: try again")

    def lay_out(self, record: ModelRecord) -> Refusal | None:
        """Put the names of a model on its shelf."""
        blobs = {file.sha256: self.blobs.path(file.sha256) for file in record.all_files}
        fault = self.shelf.lay_out(record, blobs)
        # Where the file system knows no hard links, an engine can open a single file by its blob.
        return None if fault is None or self._stands_alone(record) else fault

    def paths(self, record: ModelRecord) -> dict[str, Path]:
        """Where each file of a model lies, by its name in the record."""
        place = self.shelf.place(record.id)
        found: dict[str, Path] = {}
        for name, file in shelf_names(record).items():
            shelved = place / name
            found[file.file] = shelved if _is_file(shelved) else self.blobs.path(file.sha256)
        return found

    def usable_path(self, record: ModelRecord) -> Path | Refusal:
        """The file that an engine opens, with all others beside it."""
        fault = self.fault_of(record)
        if fault is not None:
            return fault
        if not self._is_laid_out(record):
            fault = self._lay_out_again(record)
            if fault is not None:
                return fault
        first = record.files[0]
        is_there = self._is_laid_out(record)
        return self.paths(record)[first.file] if is_there else self.blobs.path(first.sha256)

    def forget(self, records: Iterable[ModelRecord]) -> None:
        """Delete models; contents that another model uses stay. The caller holds the store."""
        there = self.records.all()
        users = Counter(sha256 for record in there for sha256 in record.blobs)
        has_unread = self.records.has_more(len(there))
        for record in records:
            self.records.remove(record.id)
            self.shelf.remove(record.id)
            users.subtract(record.blobs.keys())
            for sha256 in record.blobs:
                if users[sha256] <= 0 and not has_unread:
                    self.blobs.remove(sha256)

    def orphans(self) -> dict[str, os.stat_result]:
        """Contents that no record names."""
        used = self.records.contents()
        if used is None:
            return {}
        return {sha: status for sha, status in self.blobs.all() if sha not in used}

    def clear_shelf(self) -> None:
        """Take away the names of models that have no record. The caller holds the store."""
        if self.records.contents() is not None:
            self.shelf.keep_only(record.id for record in self.records.all())

    def partial_files(self) -> list[Path]:
        """What transfers, imports and writers have not finished, with their notes and locks."""
        partials = sorted(self.partials.iterdir()) if self.partials.is_dir() else []
        return [*partials, *self.records.drafts()]

    def partial_bytes(self, key: str) -> int:
        """How much has come so far of what is called so while it is on its way."""
        try:
            return look(self.partials / f"{key}.part").st_size
        except OSError:
            return 0

    def accounts(self, records: Iterable[ModelRecord]) -> Accounts:
        """Who of these has which contents, with those that lie elsewhere too."""
        holdings = [Holding(record.id, record.blobs) for record in records]
        unread = self.records.has_more(len(holdings))
        return Accounts(holdings, self.elsewhere(), has_unread=unread)

    def elsewhere(self) -> set[str]:
        """Contents that also have a name outside of this store, so that deleting frees nothing."""
        links = self.shelf.links(self.records.all())
        return {
            sha
            for sha, status in self.blobs.all()
            if status.st_nlink > 1 + links.get((status.st_dev, status.st_ino), 0)
        }

    def discard(self, contents: Collection[str]) -> None:
        """Delete contents that came here for a model which is not kept, unless another has them."""
        with self.hold():
            self._drop(contents)

    def reports(self) -> list[ModelReport]:
        """What workers can be started from; cheap as long as nothing changes."""
        return list(self.sound.now().reports)

    def _lay_out_again(self, record: ModelRecord) -> Refusal | None:
        try:
            with self.hold():
                return self.lay_out(record)
        except LlorchError as error:
            return error.refusal
        except OSError as error:
            # From a store that nobody may change, a single file can be opened all the same.
            return None if self._stands_alone(record) else explain_host(error)

    def _drop(self, contents: Collection[str]) -> None:
        used = self.records.contents()
        for sha256 in contents:
            if used is not None and sha256 not in used:
                self.blobs.remove(sha256)

    def _stands_alone(self, record: ModelRecord) -> bool:
        return len(record.files) == 1 and record.mmproj is None

    def _is_laid_out(self, record: ModelRecord) -> bool:
        place = self.shelf.place(record.id)
        try:
            pairs = [
                (look(place / name), self.blobs.look(file.sha256))
                for name, file in shelf_names(record).items()
            ]
        except OSError:
            return False
        return all((a.st_dev, a.st_ino) == (b.st_dev, b.st_ino) for a, b in pairs)


def _is_file(path: Path) -> bool:
    try:
        look(path)
    except OSError:
        return False
    return True


def _incomplete(record: ModelRecord, what: str) -> Refusal:
    if record.source == "hub":
        remedy = f"llorch-pool models download {record.id} --force"
    else:
        remedy = f"llorch-pool models import PATH --id {record.id}"
    return Refusal(Code.DATA_CORRUPT, f"{record.id} cannot be used: {what}: {remedy}")
