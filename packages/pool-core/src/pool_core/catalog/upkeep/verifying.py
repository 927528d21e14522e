"""Reads every byte of models again and says of each file whether it still is what it should be.

A damaged content keeps its place and gets a mark, so that no worker starts from it; a sound one
loses its mark. Nothing is deleted here.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator_core.contracts.models import FileCheck, FileState, VerifyReport
from orchestrator_core.contracts.pool import ModelReport
from orchestrator_core.errors import Refusal
from pool_core.catalog.builtin import BuiltinModels
from pool_core.catalog.reading import cancelled, hash_descriptor
from pool_core.catalog.store.records import ModelRecord, RecordedFile
from pool_core.catalog.store.regular import open_regular
from pool_core.catalog.store.store import Store
from pool_core.fetch.cancel import Cancel

__all__ = ["Verification"]


@dataclass(slots=True)
class Verification:
    """One act of verifying; a content that several models share is read once."""

    store: Store
    tell: Callable[[str, int, int], None]
    cancel: Cancel
    _checked: dict[str, FileCheck] = field(default_factory=dict[str, FileCheck])

    def of_record(self, record: ModelRecord) -> VerifyReport | Refusal:
        """Verify a model of the store and note when that was."""
        checks: list[FileCheck] = []
        for file in record.all_files:
            check = self._check_blob(file)
            if check is None:
                return cancelled(f"verifying {record.id}")
            checks.append(check)
        is_sound = all(check.state is FileState.OK for check in checks)
        self._try_to_note(record.id, lambda: self._note(record, is_sound=is_sound))
        return VerifyReport(id=record.id, ok=is_sound, files=checks)

    def of_builtin(self, builtin: BuiltinModels, report: ModelReport) -> VerifyReport | Refusal:
        """Verify a model that comes with the suite."""
        expected = RecordedFile(
            file=report.file, size_bytes=report.size_bytes, sha256=report.sha256 or "0" * 64
        )
        check = self._check(builtin.folder / report.file, expected)
        if check is None:
            return cancelled(f"verifying {report.id}")
        return VerifyReport(id=report.id, ok=check.state is FileState.OK, files=[check])

    def _check_blob(self, file: RecordedFile) -> FileCheck | None:
        known = self._checked.get(file.sha256)
        if known is not None:
            return known.model_copy(update={"file": file.file})
        check = self._check(self.store.blobs.path(file.sha256), file)
        if check is None:
            return None
        self._try_to_note(file.file, lambda: self._mark(file, check.state))
        self._checked[file.sha256] = check
        return check

    def _check(self, path: Path, file: RecordedFile) -> FileCheck | None:
        try:
            descriptor = open_regular(path)
        except FileNotFoundError:
            return _judged(file, FileState.MISSING, "it is not there")
        except OSError as error:
            return _judged(file, FileState.UNREADABLE, error.strerror)
        try:
            before = os.fstat(descriptor)
            actual = hash_descriptor(
                descriptor,
                tell=lambda done: self.tell(file.file, done, before.st_size),
                cancel=self.cancel,
            )
            if actual is None:
                return None
            if actual != file.sha256 and _was_replaced(path, before):
                # A download has put a sound file here while the old one was read.
                return self._check(path, file)
        except OSError as error:
            return _judged(file, FileState.UNREADABLE, error.strerror)
        finally:
            os.close(descriptor)
        if actual == file.sha256:
            return _judged(file, FileState.OK, None, before.st_size, actual)
        reason = "its content has changed since it was fetched"
        return _judged(file, FileState.DAMAGED, reason, before.st_size, actual)

    def _try_to_note(self, name: str, note: Callable[[], None]) -> None:
        """What was found is told also where the disk is full, or nobody may write."""
        try:
            note()
        except OSError as error:
            self.store.say(f"what became of {name} could not be noted: {error.strerror}")

    def _mark(self, file: RecordedFile, state: FileState) -> None:
        if state is FileState.OK:
            self.store.blobs.clear(file.sha256)
        elif state is FileState.DAMAGED:
            self.store.blobs.mark_damaged(file.sha256)

    def _note(self, record: ModelRecord, *, is_sound: bool) -> None:
        with self.store.hold():
            # It may have been deleted, or fetched anew, while its old files were read.
            if self.store.records.get(record.id) == record:
                moment = self.store.now() if is_sound else None
                self.store.records.write(record.model_copy(update={"verified_at": moment}))


def _was_replaced(path: Path, before: os.stat_result) -> bool:
    try:
        now = path.lstat()
    except OSError:
        return False
    return (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino)


def _judged(
    file: RecordedFile,
    state: FileState,
    reason: str | None,
    size_bytes: int | None = None,
    actual: str | None = None,
) -> FileCheck:
    return FileCheck(
        file=file.file,
        state=state,
        size_bytes=size_bytes,
        expected_sha256=file.sha256,
        actual_sha256=actual,
        reason=reason,
    )
