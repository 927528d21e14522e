"""Adds up what models, unfinished downloads and the hub's own cache take up."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from orchestrator_core.contracts.models import DiskUsage, StoredModel
from pool_core.catalog.store.regular import bytes_under
from pool_core.catalog.store.store import Store
from pool_core.fetch.hub_cache import HubCache

__all__ = ["usage_of"]


def usage_of(store: Store, models: Sequence[StoredModel], cache: HubCache) -> DiskUsage:
    """What lies in a store and beside it; a content that several models share counts once."""
    contents = {file.sha256: file.size_bytes for model in models for file in model.files}
    disk = shutil.disk_usage(_nearest(store.folder))
    elsewhere = store.elsewhere()
    return DiskUsage(
        folder=str(store.folder),
        models=list(models),
        model_bytes=sum(contents.values()),
        shared_bytes=sum(size for sha, size in contents.items() if sha in elsewhere),
        partial_bytes=sum(bytes_under(path) for path in store.partial_files()),
        orphan_bytes=sum(status.st_size for status in store.orphans().values()),
        disk_free_bytes=disk.free,
        disk_total_bytes=disk.total,
        hub_cache_folder=str(cache.folder) if cache.folder.is_dir() else None,
        hub_cache_bytes=_cached_bytes(file.blob for file in cache.files()),
    )


def _nearest(folder: Path) -> Path:
    """The folder, or the one in which it would be made."""
    return next(place for place in (folder, *folder.parents) if place.is_dir())


def _cached_bytes(blobs: Iterable[Path]) -> int:
    """Several commits may have one content."""
    return sum(bytes_under(blob) for blob in set(blobs))
