"""Shows models of this host as commands and daemons are told of them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from orchestrator_core.catalog.entries import CatalogEntry
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clock import rfc3339
from orchestrator_core.contracts.models import CatalogItem, StoredFile, StoredModel
from orchestrator_core.contracts.pool import WorkerReport
from pool_core.catalog.builtin import BuiltinModels
from pool_core.catalog.store.accounts import Accounts
from pool_core.catalog.store.records import ModelRecord
from pool_core.catalog.store.store import Store
from pool_core.catalog.upkeep.deletion import holders

__all__ = ["builtin_views", "catalog_views", "files_view", "stored_view"]


def stored_view(
    store: Store, record: ModelRecord, workers: Sequence[WorkerReport], accounts: Accounts
) -> StoredModel:
    """A model of the store."""
    paths = store.paths(record)
    used_ms = store.records.used_unix_ms(record.id)
    fault = store.fault_of(record)
    return StoredModel(
        id=record.id,
        source=record.source,
        name=record.name,
        repo=record.repo,
        commit=record.commit,
        quant=record.quant,
        architecture=record.architecture,
        trained_ctx=record.trained_ctx,
        files=files_view(record, paths),
        size_bytes=record.size_bytes,
        shared_bytes=accounts.shared_bytes(record.id),
        added_at=record.added_at,
        verified_at=record.verified_at,
        used_at=None if used_ms is None else rfc3339(used_ms),
        workers=holders(record, workers, set(paths.values()), _ids(accounts)),
        fault=fault.message if fault else None,
    )


def builtin_views(
    builtin: BuiltinModels, entries: Mapping[str, CatalogEntry], workers: Sequence[WorkerReport]
) -> list[StoredModel]:
    """The models that come with the suite."""
    views: list[StoredModel] = []
    for report in builtin.reports():
        entry = entries.get(report.id)
        path = str(builtin.folder / report.file)
        size = report.size_bytes
        file = StoredFile(file=report.file, size_bytes=size, sha256=report.sha256 or "", path=path)
        views.append(
            StoredModel(
                id=report.id,
                source="builtin",
                name=entry.name if entry else None,
                quant=entry.quant if entry else None,
                trained_ctx=entry.trained_ctx if entry else None,
                files=[file],
                size_bytes=size,
                workers=[it.name for it in workers if it.spec.model.model_id == report.id],
            )
        )
    return views


def catalog_views(catalog: Catalog, ids: Iterable[str]) -> list[CatalogItem]:
    """Everything that is known by name."""
    here = set(ids)
    return [_item(catalog, entry, is_here=entry.id in here) for entry in catalog.entries]


def _item(catalog: Catalog, entry: CatalogEntry, *, is_here: bool) -> CatalogItem:
    return CatalogItem(
        id=entry.id,
        name=entry.name,
        description=entry.description,
        aliases=list(entry.aliases),
        repo=entry.file.repo,
        file=entry.file.file,
        quant=entry.quant,
        size_bytes=entry.total_bytes,
        license=entry.license,
        trained_ctx=entry.trained_ctx,
        gated=entry.gated,
        requires_conversion=entry.requires_conversion,
        conversion=entry.conversion,
        origin=catalog.origin(entry),
        is_here=is_here,
    )


def files_view(record: ModelRecord, paths: Mapping[str, Path]) -> list[StoredFile]:
    """The files of a model and where they lie."""
    return [
        StoredFile(
            file=file.file,
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            path=str(paths[file.file]),
        )
        for file in record.all_files
    ]


def _ids(accounts: Accounts) -> set[str]:
    return {holding.id for holding in accounts.holdings}
