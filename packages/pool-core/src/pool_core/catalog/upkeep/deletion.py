"""Decides whether a model may be deleted and says what that frees: pure.

Nothing but an id ever leads to a file that is deleted.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

from orchestrator_core.contracts.models import DeleteReport
from orchestrator_core.contracts.pool import WorkerReport, WorkerStatus
from orchestrator_core.errors import Code, Refusal
from pool_core.catalog.store.accounts import Accounts
from pool_core.catalog.store.records import ModelRecord

__all__ = ["deletion_report", "holders", "refuse_deletion"]

_ENDED: Final = frozenset({WorkerStatus.STOPPED, WorkerStatus.FAILED, WorkerStatus.PARKED})


def holders(
    record: ModelRecord,
    workers: Sequence[WorkerReport],
    paths: Collection[Path] = (),
    ids: Collection[str] = (),
) -> list[str]:
    """The names of the workers that run from a model, named by its id, content or file.

    A worker of another model of ids with the same content runs from that other model.
    """
    return [worker.name for worker in workers if _holds(worker, record, paths, ids)]


def refuse_deletion(
    record: ModelRecord, held_by: Sequence[str], *, is_arriving: bool
) -> Refusal | None:
    """Why a model cannot be deleted now."""
    if held_by:
        plural = "s" if len(held_by) > 1 else ""
        line = f"{record.id} is used by worker{plural} {', '.join(held_by)}: "
        stop = f"llorch-pool worker stop {held_by[0]}"
        return Refusal(Code.CONFLICT, f"{line}{stop}", {"workers": list(held_by)})
    if is_arriving:
        line = f"{record.id} is being downloaded or imported now: cancel that first"
        return Refusal(Code.CONFLICT, line)
    return None


def deletion_report(record: ModelRecord, accounts: Accounts, *, dry_run: bool) -> DeleteReport:
    """What deleting a model alone frees, and what stays and why."""
    freed = accounts.freed({record.id})
    return DeleteReport(
        id=record.id,
        freed_bytes=sum(freed.values()),
        kept_bytes=record.size_bytes - sum(freed.values()),
        files=[file.file for file in record.all_files],
        dry_run=dry_run,
        reasons=accounts.reasons(record.id),
    )


def _holds(
    worker: WorkerReport, record: ModelRecord, paths: Collection[Path], ids: Collection[str]
) -> bool:
    if worker.status in _ENDED and worker.pid is None:
        return False
    model = worker.spec.model
    if model.source == "file" and Path(model.file).is_absolute():
        return Path(model.file) in paths
    if model.source == "builtin":
        return False
    if model.model_id in ids or model.sha256 is None:
        return model.model_id == record.id
    return model.model_id == record.id or model.sha256 == record.files[0].sha256
