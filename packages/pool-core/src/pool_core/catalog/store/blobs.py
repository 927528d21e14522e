"""Files of models, each called by the SHA-256 of its content, so that equal files lie here once.

Whoever puts a blob here has hashed it. One that was found damaged later keeps its place and gets
a mark beside it: workers are refused until its content is fetched again.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from orchestrator_core.platforms.files import ensure_folder, sync_folder
from pool_core.catalog.store.regular import look, open_regular

__all__ = ["Blobs"]

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MARK: Final = ".damaged"
_MODE: Final = 0o444


class Blobs:
    """The folder of the contents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make the folder."""
        ensure_folder(self.folder)

    def path(self, sha256: str) -> Path:
        """Where a content lies or would lie; whatever is no hash never becomes a path."""
        if not _SHA256.fullmatch(sha256):
            raise ValueError("the name of a blob is 64 hex digits")
        return self.folder / sha256

    def look(self, sha256: str) -> os.stat_result:
        """The file of a content; raises OSError where there is none, or a link instead."""
        return look(self.path(sha256))

    def open(self, sha256: str) -> int:
        """A descriptor of it."""
        return open_regular(self.path(sha256))

    def holds(self, sha256: str, size_bytes: int) -> bool:
        """True when the content is here, of the right size and not known to be damaged."""
        try:
            return self.look(sha256).st_size == size_bytes and not self.is_damaged(sha256)
        except OSError:
            return False

    def put(self, draft: Path, sha256: str) -> None:
        """Give a hashed file its name; what was there under it before is replaced."""
        path = self.path(sha256)
        # The mode belongs to all names of a file, and a file of somebody else keeps its own.
        if look(draft).st_nlink == 1:
            draft.chmod(_MODE)
        draft.replace(path)
        self.clear(sha256)
        sync_folder(self.folder)

    def remove(self, sha256: str) -> None:
        """Delete a content."""
        self.path(sha256).unlink(missing_ok=True)
        self.clear(sha256)

    def mark_damaged(self, sha256: str) -> None:
        """Remember that the content is not what its name says."""
        self._mark(sha256).touch(0o600)

    def clear(self, sha256: str) -> None:
        """Take the mark away."""
        self._mark(sha256).unlink(missing_ok=True)

    def is_damaged(self, sha256: str) -> bool:
        """True when the mark is there."""
        return os.path.lexists(self._mark(sha256))

    def all(self) -> Iterator[tuple[str, os.stat_result]]:
        """Every content that is here; anything else in the folder is passed over."""
        if not self.folder.is_dir():
            return
        for path in sorted(self.folder.iterdir()):
            if _SHA256.fullmatch(path.name):
                try:
                    yield path.name, look(path)
                except OSError:
                    continue

    def _mark(self, sha256: str) -> Path:
        return self.path(sha256).with_suffix(_MARK)
