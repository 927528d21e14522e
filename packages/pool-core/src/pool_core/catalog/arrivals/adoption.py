"""Uses what the hub's own tools have fetched to this host before, instead of the network.

The name of a cached file only says what it should be: its bytes are hashed before they are used.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.catalog.reference import Reference
from orchestrator_core.errors import Refusal
from pool_core.catalog.arrivals.intake import Intake, Taken, Way
from pool_core.fetch.cancel import Cancel
from pool_core.fetch.hub_answers import Listing, RemoteFile, file_url
from pool_core.fetch.hub_cache import HubCache

__all__ = ["Adoption", "cached_listing", "find_cached", "listing_of"]

# Nothing edits a file of that cache, so that sharing it is as good as having it.
_WAYS: Final = (Way.HARDLINK, Way.REFLINK, Way.COPY)


@dataclass(frozen=True, slots=True)
class Adoption:
    """Takes files of the hub's cache into the store."""

    cache: HubCache
    intake: Intake

    def adopt(
        self, cached: Path, file: RemoteFile, *, tell: Callable[[int], None], cancel: Cancel
    ) -> Taken | Refusal:
        """Take it in if its content is what it should be."""
        return self.intake.take(
            cached, _WAYS, tell=tell, cancel=cancel, expected_sha256=file.sha256
        )


def find_cached(cache: HubCache, file: RemoteFile, listing: Listing) -> Path | None:
    """A cached file that should be this one; without a hash only its own commit counts."""
    if file.sha256 is not None:
        return cache.find(file.sha256, file.size_bytes)
    cached = cache.files(listing.repo, listing.commit)
    return next((it.blob for it in cached if it.path == file.path), None)


def cached_listing(cache: HubCache, reference: Reference, endpoint: str) -> Listing | None:
    """What the cache holds of a repository, for a host that may not ask the hub."""
    if reference.repo is None:
        return None
    commit = cache.commit_of(reference.repo, reference.revision)
    if commit is None:
        return None
    listing = listing_of(cache, reference.repo, commit, endpoint)
    return listing if listing.files else None


def listing_of(cache: HubCache, repo: str, commit: str, endpoint: str) -> Listing:
    """The whole files of one commit in the cache."""
    files = tuple(
        RemoteFile(it.path, it.size_bytes, it.sha256, file_url(endpoint, repo, commit, it.path))
        for it in cache.files(repo, commit)
    )
    return Listing(repo, commit, files)
