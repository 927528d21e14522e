"""Brings the files of one model into the store: those that are here, adopted ones, fetched ones.

Nothing counts before its hash has matched. What a refusal leaves behind is continued next time.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator_core.contracts.downloads import DownloadOrder, DownloadStage
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.arrivals.adoption import Adoption, find_cached
from pool_core.catalog.arrivals.hub_access import HubAccess
from pool_core.catalog.arrivals.intake import Intake, Taken
from pool_core.catalog.arrivals.selection import Selection
from pool_core.catalog.arrivals.telling import Telling
from pool_core.catalog.reading import cancelled, hash_file
from pool_core.catalog.store.records import RecordedFile
from pool_core.catalog.store.store import Store
from pool_core.catalog.surroundings import Surroundings
from pool_core.catalog.upkeep.cleaning import Cleaning
from pool_core.fetch.cancel import Cancel
from pool_core.fetch.hub_answers import Listing, RemoteFile
from pool_core.fetch.news import TransferNews
from pool_core.fetch.room import judge_room

__all__ = ["Bringing", "Site"]


@dataclass(frozen=True, slots=True)
class Site:
    """Where and how one download happens."""

    store: Store
    around: Surroundings
    cleaning: Cleaning
    order: DownloadOrder
    telling: Telling
    cancel: Cancel


class Bringing:
    """The files of one selection on their way."""

    def __init__(self, site: Site, chosen: Selection, listing: Listing, access: HubAccess) -> None:
        self._site = site
        self._store = site.store
        self._chosen = chosen
        self._listing = listing
        self._access = access
        intake = Intake(
            site.store.blobs, site.store.partials, site.around.free_bytes, site.around.reserve
        )
        self._adoption = Adoption(access.cache, intake)
        self._recorded: dict[str, RecordedFile] = {}

    def bring(self) -> dict[str, RecordedFile] | Refusal:
        """Every file by its path, once all of them are here."""
        files = self._chosen.all_files
        total_bytes = sum(file.size_bytes for file in files)
        self._site.telling.selected(self._chosen.id, len(files), total_bytes)
        missing: list[RemoteFile] = []
        for file in files:
            found = self._find_here(file)
            if isinstance(found, Refusal):
                return found
            if not found:
                missing.append(file)
        refusal = self._refuse(missing) if missing else None
        for file in missing:
            refusal = refusal or self._fetch(file)
        return refusal or self._recorded

    def _find_here(self, file: RemoteFile) -> bool | Refusal:
        """Whether a file is in the store now, because it was or because the cache had it."""
        if self._site.cancel.is_set():
            return cancelled(f"the download of {self._chosen.id}")
        if self._site.order.force:
            return False
        if file.sha256 is not None and self._store.blobs.holds(file.sha256, file.size_bytes):
            self._note(file, file.sha256)
            return True
        cached = find_cached(self._access.cache, file, self._listing)
        return False if cached is None else self._adopt(cached, file)

    def _adopt(self, cached: Path, file: RemoteFile) -> bool | Refusal:
        def tell(done_bytes: int) -> None:
            self._tell(file, DownloadStage.VERIFYING, done_bytes, "found in the Hugging Face cache")

        taken = self._adoption.adopt(cached, file, tell=tell, cancel=self._site.cancel)
        if isinstance(taken, Taken):
            self._note(file, taken.sha256)
            return True
        if taken.code is Code.CANCELLED:
            return taken
        self._site.telling.note(f"not taken from the Hugging Face cache: {taken.message}")
        return False

    def _refuse(self, missing: Sequence[RemoteFile]) -> Refusal | None:
        """Why nothing can be fetched: we may not, or there is no room."""
        refusal = self._access.refusal_for(self._listing, missing)
        if refusal is not None:
            return refusal
        refusal = self._no_room(missing)
        if refusal is None or not self._site.order.make_room:
            return refusal
        lacking = refusal.details.get("lacking_bytes")
        wanted_bytes = lacking if isinstance(lacking, int) else 0
        gone = self._site.cleaning.make_room(wanted_bytes, spared=self._chosen.id)
        for model_id in gone:
            self._site.telling.note(f"deleted {model_id} to make room")
        return self._no_room(missing)

    def _no_room(self, missing: Sequence[RemoteFile]) -> Refusal | None:
        keys = (self._access.key_of(file) for file in missing)
        here_bytes = sum(map(self._store.partial_bytes, keys))
        wanted_bytes = sum(file.size_bytes for file in missing)
        return judge_room(
            self._chosen.id,
            size_bytes=wanted_bytes,
            missing_bytes=max(wanted_bytes - here_bytes, 0),
            free_bytes=self._site.around.free_bytes(self._store.folder),
            reserve=self._site.around.reserve,
        )

    def _fetch(self, file: RemoteFile) -> Refusal | None:
        if self._site.order.via == "hf":
            return self._fetch_by_hf(file)
        place = self._place_for(file)
        if isinstance(place, Refusal):
            return place
        path = self._access.fetch(file, place, tell=self._news_of(file), cancel=self._site.cancel)
        if isinstance(path, Refusal):
            return path
        return self._settle(file, path, file.sha256)

    def _fetch_by_hf(self, file: RemoteFile) -> Refusal | None:
        tell, cancel = self._news_of(file), self._site.cancel
        with self._access.hold(file, tell=tell, cancel=cancel) as refusal:
            if refusal is not None:
                return refusal
            if self._find_here(file) is True:
                return None
            path = self._access.fetch_by_hf(file, self._listing, tell=tell, cancel=cancel)
            if isinstance(path, Refusal):
                return path
            settled = self._settle(file, path, None)
            self._access.forget_hf(file)
            return settled

    def _settle(self, file: RemoteFile, path: Path, verified: str | None) -> Refusal | None:
        """Give a file that has come its place; one that nobody has verified is hashed first."""
        sha256 = verified or self._verify(path, file)
        if isinstance(sha256, Refusal):
            return sha256
        if path != self._store.blobs.path(sha256):
            try:
                self._store.blobs.put(path, sha256)
            except FileNotFoundError:
                # Another download of the same file was waiting beside us and has placed it.
                if not self._store.blobs.holds(sha256, file.size_bytes):
                    raise
        self._note(file, sha256)
        return None

    def _news_of(self, file: RemoteFile) -> Callable[[TransferNews], None]:
        return lambda news: self._site.telling.news(file, news)

    def _place_for(self, file: RemoteFile) -> Path | Refusal:
        """The final name of a content, unless something is in the way that has to be replaced."""
        if file.sha256 is not None:
            place = self._store.blobs.path(file.sha256)
            if not os.path.lexists(place):
                self._store.blobs.clear(file.sha256)
                return place
            if place.is_dir() and not place.is_symlink():
                line = f"a folder lies where a file of the store should be: remove {place}"
                return Refusal(Code.DATA_CORRUPT, line)
        # What lies there has been verified by whoever was killed before it could be placed.
        return self._store.partials / f"{self._access.key_of(file)}.fresh"

    def _verify(self, path: Path, file: RemoteFile) -> str | Refusal:
        """The hash of a file that nobody has verified yet, if it is the right one."""
        sha256 = hash_file(
            path,
            tell=lambda done: self._tell(file, DownloadStage.VERIFYING, done, None),
            cancel=self._site.cancel,
        )
        if sha256 is None:
            return cancelled(f"the download of {self._chosen.id}")
        if file.sha256 in (None, sha256):
            return sha256
        path.unlink()
        details = {"expected": file.sha256, "actual": sha256}
        line = f"{file.path} is damaged: its SHA-256 is {sha256} instead of {file.sha256}"
        return Refusal(Code.DATA_CORRUPT, f"{line}: nothing of it was kept, try again", details)

    def _note(self, file: RemoteFile, sha256: str) -> None:
        self._recorded[file.path] = RecordedFile(
            file=file.path, size_bytes=file.size_bytes, sha256=sha256
        )
        self._site.telling.file_done(file)

    def _tell(
        self, file: RemoteFile, stage: DownloadStage, done_bytes: int, note: str | None
    ) -> None:
        news = TransferNews(stage, done_bytes, file.size_bytes, 0, note)
        self._site.telling.news(file, news)
