"""Takes every whole GGUF model of the hub's own cache into the store.

What is damaged or incomplete there is told and passed over: the others come all the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from orchestrator_core.catalog.gguf_names import is_model, split_of
from orchestrator_core.catalog.reference import Reference, ReferenceKind
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.arrivals.adoption import Adoption, find_cached, listing_of
from pool_core.catalog.arrivals.recording import keep_model
from pool_core.catalog.arrivals.selection import Selection, Wish, select
from pool_core.catalog.store.records import ModelRecord, RecordedFile
from pool_core.catalog.store.store import Store
from pool_core.fetch.cancel import Cancel
from pool_core.fetch.hub_answers import Listing, RemoteFile

__all__ = ["CacheImport"]


@dataclass(frozen=True, slots=True)
class CacheImport:
    """One act of adopting a whole cache."""

    store: Store
    catalog: Catalog
    adoption: Adoption
    endpoint: str
    tell: Callable[[str, int, int], None]
    cancel: Cancel

    def take_all(self) -> list[ModelRecord] | Refusal:
        """Every model that is here now because the cache has it."""
        taken: dict[str, ModelRecord] = {}
        for wish, listing in self._wishes():
            chosen = select(wish, listing, mmproj=True)
            kept = chosen if isinstance(chosen, Refusal) else self._take(chosen, wish, listing)
            if isinstance(kept, Refusal) and kept.code is Code.CANCELLED:
                return kept
            if isinstance(kept, Refusal):
                self.store.say(f"passed over in the Hugging Face cache: {kept.message}")
            else:
                taken[kept.id] = kept
        return list(taken.values())

    def _wishes(self) -> Iterator[tuple[Wish, Listing]]:
        cache = self.adoption.cache
        snapshots = dict.fromkeys((it.repo, it.commit) for it in cache.files())
        for repo, commit in snapshots:
            listing = listing_of(cache, repo, commit, self.endpoint)
            is_main = cache.commit_of(repo) == commit
            for file in listing.files:
                split = split_of(file.path)
                if is_model(file.path) and (split is None or split.number == 1):
                    reference = _reference(repo, None if is_main else commit, file.path)
                    entry = self.catalog.find(reference.text)
                    yield Wish(reference, entry), listing

    def _take(self, chosen: Selection, wish: Wish, listing: Listing) -> ModelRecord | Refusal:
        present = self.store.records.get(chosen.id)
        if present is not None and self.store.fault_of(present) is None:
            return present
        with self.store.claims.hold(chosen.id):
            recorded: dict[str, RecordedFile] = {}
            for file in chosen.all_files:
                sha256 = self._adopt(file, listing)
                if isinstance(sha256, Refusal):
                    return sha256
                recorded[file.path] = RecordedFile(
                    file=file.path, size_bytes=file.size_bytes, sha256=sha256
                )
            return keep_model(self.store, chosen, listing, recorded, wish.entry)

    def _adopt(self, file: RemoteFile, listing: Listing) -> str | Refusal:
        if file.sha256 is not None and self.store.blobs.holds(file.sha256, file.size_bytes):
            return file.sha256
        cached = find_cached(self.adoption.cache, file, listing)
        if cached is None:
            return Refusal(Code.NOT_FOUND, f"{file.path} of {listing.repo} is gone")
        taken = self.adoption.adopt(
            cached,
            file,
            tell=lambda done: self.tell(file.path, done, file.size_bytes),
            cancel=self.cancel,
        )
        return taken if isinstance(taken, Refusal) else taken.sha256


def _reference(repo: str, commit: str | None, path: str) -> Reference:
    at = f"@{commit}" if commit is not None else ""
    text = f"hf:{repo}{at}::file={path}"
    return Reference(ReferenceKind.HUB, text, repo=repo, revision=commit, file=path)
