"""The way of one act to the hub: opened when it is first needed, closed when the act ends.

Without a network, by the operator's word, the hub's own cache answers instead.
"""

import contextlib
import hashlib
import shutil
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from orchestrator_core.catalog.reference import Reference
from orchestrator_core.contracts.downloads import DownloadStage
from orchestrator_core.errors import Refusal
from orchestrator_core.platforms.files import FileLock, ensure_folder
from pool_core.catalog.arrivals.adoption import cached_listing, find_cached
from pool_core.catalog.reading import cancelled
from pool_core.catalog.store.regular import read_part
from pool_core.catalog.surroundings import Surroundings
from pool_core.fetch.cancel import Cancel
from pool_core.fetch.hf_command import HfOrder
from pool_core.fetch.hf_program import HfProgram
from pool_core.fetch.hub import Hub
from pool_core.fetch.hub_answers import Listing, RemoteFile
from pool_core.fetch.hub_cache import HubCache
from pool_core.fetch.news import TransferNews
from pool_core.fetch.transfer import Transfer
from pool_core.fetch.web import Web

__all__ = ["HubAccess"]

_LOOK_AGAIN_S: Final = 0.2


class HubAccess:
    """One hub for the time of one act; a context manager."""

    def __init__(self, folder: Path, around: Surroundings, cancel: Cancel | None = None) -> None:
        self._folder = folder
        self._around = around
        self._settings = around.hub()
        self._cancel = cancel
        self._web: Web | None = None
        self._hub: Hub | None = None

    @property
    def cache(self) -> HubCache:
        """What the hub's own tools have fetched before."""
        return HubCache(self._settings.cache_folder)

    def listing(self, reference: Reference) -> Listing | Refusal:
        """The files of a repository."""
        if self._settings.offline:
            found = cached_listing(self.cache, reference, self._settings.endpoint)
            if found is not None:
                return found
        return self._asked().listing(reference)

    def refusal_for(self, listing: Listing, file: RemoteFile) -> Refusal | None:
        """Why the hub would not give us a file of a repository that is not open to all."""
        return self._asked().access(file) if listing.gated and not self._settings.offline else None

    def read(self, file: RemoteFile, listing: Listing, start: int, end: int) -> bytes | Refusal:
        """A part of a file."""
        if self._settings.offline:
            cached = find_cached(self.cache, file, listing)
            if cached is not None:
                return read_part(cached, start, end)
        return self._asked().read_range(file, start, end)

    def fetch(
        self,
        file: RemoteFile,
        into: Path,
        *,
        tell: Callable[[TransferNews], None],
        cancel: Cancel,
    ) -> Path | Refusal:
        """Bring a file here; one that has a hash is verified then."""
        if self._settings.offline:
            # The refusal says what the cache holds instead.
            return self._asked().access(file) or cancelled(f"the download of {file.path}")
        transfer = Transfer(
            self._opened(),
            folder=self._folder,
            reserve=self._around.reserve,
            clock=self._around.clock,
            pause=self._around.pause,
            free_bytes=self._around.free_bytes,
        )
        return transfer.fetch(file, into=into, tell=tell, cancel=cancel)

    def fetch_by_hf(
        self,
        file: RemoteFile,
        listing: Listing,
        *,
        tell: Callable[[TransferNews], None],
        cancel: Cancel,
    ) -> Path | Refusal:
        """Bring a file by the hub's own program, unverified; the caller holds the file."""
        around = self._around
        program = HfProgram.find(
            self._settings, around.env, around.clock, beside=Path(sys.executable)
        )
        if isinstance(program, Refusal):
            return program

        def say(done_bytes: int) -> None:
            stage = DownloadStage.TRANSFERRING
            tell(TransferNews(stage, done_bytes, file.size_bytes, done_bytes, "fetched by hf"))

        order = HfOrder(listing.repo, listing.commit, file, self._hf_folder(file))
        return program.fetch(order, tell=say, cancel=cancel)

    @contextlib.contextmanager
    def hold(
        self, file: RemoteFile, *, tell: Callable[[TransferNews], None], cancel: Cancel
    ) -> Generator[Refusal | None]:
        """Be the only one who fetches a file, as every transfer is; a refusal is of a cancel."""
        path = self._hf_folder(file).with_suffix(".lock")
        ensure_folder(path.parent)
        lock = FileLock(path)
        while not lock.try_acquire():
            if cancel.is_set():
                yield cancelled(f"the download of {file.path}")
                return
            note = "another process fetches it already"
            tell(TransferNews(DownloadStage.WAITING, 0, file.size_bytes, 0, note))
            self._around.pause(_LOOK_AGAIN_S)
        try:
            yield None
        finally:
            lock.release()

    def key_of(self, file: RemoteFile) -> str:
        """What unfinished files of this one are called."""
        return file.sha256 or hashlib.sha256(file.url.encode()).hexdigest()

    def forget_hf(self, file: RemoteFile) -> None:
        """Take away what hf has left beside the file."""
        shutil.rmtree(self._hf_folder(file), ignore_errors=True)

    def close(self) -> None:
        """Close all connections."""
        if self._web is not None:
            self._web.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _opened(self) -> Web:
        if self._web is None:
            stop = None if self._cancel is None else self._cancel.is_set
            self._web = Web.open(self._settings.web, stop=stop)
        return self._web

    def _asked(self) -> Hub:
        if self._hub is None:
            self._hub = Hub(self._opened(), self._settings, pause=self._around.pause)
        return self._hub

    def _hf_folder(self, file: RemoteFile) -> Path:
        return self._folder / "partial" / f"{self.key_of(file)}.hf"
