"""The way of one act to the hub and to the peers: opened when needed, closed when the act ends.

Without a network, by the operator's word, the hub's own cache answers instead.
"""

import contextlib
import hashlib
import shutil
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from orchestrator_core.catalog.reference import Reference
from orchestrator_core.contracts.downloads import DownloadStage
from orchestrator_core.contracts.sharing import SharedModel
from orchestrator_core.errors import Code, Refusal
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
from pool_core.fetch.peers import Peers
from pool_core.fetch.transfer import Transfer
from pool_core.fetch.web import Web

__all__ = ["HubAccess"]

_LOOK_AGAIN_S: Final = 0.2


def _say_nothing(line: str) -> None:
    del line


class HubAccess:
    """One hub for the time of one act; a context manager. say hears which peers have failed."""

    def __init__(
        self,
        folder: Path,
        around: Surroundings,
        cancel: Cancel | None = None,
        *,
        say: Callable[[str], None] = _say_nothing,
    ) -> None:
        self._folder = folder
        self._around = around
        self._settings = around.hub()
        self._cancel = cancel
        self._say = say
        self._web: Web | None = None
        self._hub: Hub | None = None
        self._peers: Peers | None = None
        self._without_hub: Refusal | None = None

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

    @property
    def endpoint(self) -> str:
        """Where the hub answers."""
        return self._settings.endpoint

    def records(self, text: str) -> list[tuple[str, SharedModel]]:
        """What the peers hold under a name or a reference, with who tells it."""
        peers = self._peers_asked()
        if peers is None:
            return []
        told, since_s = peers.records(text), self._around.clock.monotonic_s()
        # A pool that has just restarted is known again with our next beat.
        while not told and self._may_come_back(peers, since_s):
            self._around.pause(_LOOK_AGAIN_S)
            peers.recall()
            told = peers.records(text)
        return [(peer.name, model) for peer, model in told]

    def why_no_record(self) -> str:
        """What a person is told of the peers where none of them has a model; empty without peers."""
        peers = self._peers_asked()
        return "" if peers is None else ", ".join(peers.failures) or "no other pool has it"

    def go_without_hub(self, refusal: Refusal) -> None:
        """Ask the hub for nothing more in this act; the refusal says why."""
        self._without_hub = refusal

    def refusal_for(self, listing: Listing, missing: Sequence[RemoteFile]) -> Refusal | None:
        """Why files of a repository that is not open to all would come from nobody."""
        if not listing.gated or self._settings.offline:
            return None
        refusal = self._asked().access(missing[0])
        if refusal is None or not self._peers_have(missing):
            return refusal
        self.go_without_hub(refusal)
        return None

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
        """Bring a file here, from a peer if one has it; one that has a hash is verified then."""
        peers, refusal = self._peers_asked(), self._without_hub
        if self._settings.offline and refusal is None:
            # The refusal says what the cache holds instead.
            refusal = self._asked().access(file) or cancelled(f"the download of {file.path}")
        if refusal is not None and peers is None:
            return refusal
        transfer = Transfer(
            self._opened() if refusal is None else None,
            folder=self._folder,
            reserve=self._around.reserve,
            clock=self._around.clock,
            pause=self._around.pause,
            free_bytes=self._around.free_bytes,
        )
        brought = transfer.fetch(file, into=into, tell=tell, cancel=cancel, peers=peers)
        if refusal is None or not isinstance(brought, Refusal):
            return brought
        if brought.code is not Code.UNREACHABLE:
            return brought
        return replace(refusal, message=f"{refusal.message}; {brought.message}")

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
        if self._peers is not None:
            self._peers.close()
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

    def _peers_asked(self) -> Peers | None:
        """The other pools, where the daemon knows any and somebody could cancel the question."""
        around = self._around
        if self._peers is None and around.peers() and self._cancel is not None:
            self._peers = Peers(
                around.peers, around.clock, around.peer_times, self._cancel, self._say
            )
        return self._peers

    def _may_come_back(self, peers: Peers, since_s: float) -> bool:
        times = self._around.peer_times
        is_late = self._around.clock.monotonic_s() - since_s >= times.beat_s
        is_cancelled = self._cancel is not None and self._cancel.is_set()
        return not is_late and not is_cancelled and peers.patience_s(is_only_way=True) > 0

    def _peers_have(self, files: Sequence[RemoteFile]) -> bool:
        peers = self._peers_asked()
        return peers is not None and all(peers.holders(file) for file in files)

    def _asked(self) -> Hub:
        if self._hub is None:
            self._hub = Hub(self._opened(), self._settings, pause=self._around.pause)
        return self._hub

    def _hf_folder(self, file: RemoteFile) -> Path:
        return self._folder / "partial" / f"{self.key_of(file)}.hf"
