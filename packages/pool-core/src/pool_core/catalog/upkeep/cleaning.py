"""Deletes models and what interrupted downloads left behind; deletion and eviction decide.

Everything happens while the store is held, so that nothing arrives or goes in between.
"""

import contextlib
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from orchestrator_core.contracts.models import (
    CleanUpOrder,
    CleanUpReport,
    DeleteOrder,
    DeleteReport,
)
from orchestrator_core.contracts.pool import WorkerReport
from orchestrator_core.errors import Refusal
from orchestrator_core.platforms.files import FileLock
from pool_core.catalog.store.accounts import Accounts
from pool_core.catalog.store.naming import not_here
from pool_core.catalog.store.records import ModelRecord
from pool_core.catalog.store.regular import bytes_under
from pool_core.catalog.store.store import Store
from pool_core.catalog.upkeep.deletion import deletion_report, holders, refuse_deletion
from pool_core.catalog.upkeep.eviction import Candidate, Eviction, plan_eviction

__all__ = ["Cleaning"]

_LEFT_BEHIND_S: Final = 7 * 86_400.0
_CLOCKS_DIFFER_MS: Final = 86_400_000
_LOCK: Final = ".lock"


@dataclass(frozen=True, slots=True)
class Cleaning:
    """Takes things away from one store, never what one of the workers holds."""

    store: Store
    workers: Sequence[WorkerReport]

    def delete(self, model_id: str, order: DeleteOrder) -> DeleteReport | Refusal:
        """Delete one model, or say what that would free."""
        with self.store.hold():
            record = self.store.records.get(model_id)
            if record is None:
                return not_here(model_id)
            accounts = self.store.accounts(self.store.records.all())
            refusal = refuse_deletion(
                record,
                self._holders(record, accounts),
                is_arriving=self.store.claims.is_held(record.id),
            )
            if refusal is not None:
                return refusal
            report = deletion_report(record, accounts, dry_run=order.dry_run)
            if not order.dry_run:
                self.store.forget([record])
            return report

    def clean_up(self, order: CleanUpOrder, builtin_ids: Iterable[str]) -> CleanUpReport:
        """Delete what was not used for long, and what was left behind."""
        with self.store.hold():
            records = {record.id: record for record in self.store.records.all()}
            accounts = self.store.accounts(records.values())
            plan = self._plan(records.values(), accounts, order)
            deleted = self._carry_out(plan, records, accounts, dry_run=order.dry_run)
            swept_bytes = self._sweep(dry_run=order.dry_run)
        kept = {**dict.fromkeys(builtin_ids, "it comes with llama-orch"), **plan.kept}
        freed_bytes = plan.freed_bytes + swept_bytes
        return CleanUpReport(
            deleted=deleted, kept=kept, freed_bytes=freed_bytes, dry_run=order.dry_run
        )

    def make_room(self, wanted_bytes: int, *, spared: str) -> list[str]:
        """Delete models used longest ago if that frees as much as is wanted, else nothing.

        The ids of those that went; the spared one is what the room is for.
        """
        with self.store.hold():
            everything = {record.id: record for record in self.store.records.all()}
            accounts = self.store.accounts(everything.values())
            others = [record for record in everything.values() if record.id != spared]
            plan = self._plan(others, accounts, CleanUpOrder(free_bytes=wanted_bytes))
            if plan.freed_bytes < wanted_bytes:
                return []
            self._carry_out(plan, everything, accounts, dry_run=False)
        return list(plan.victims)

    def _plan(
        self, records: Iterable[ModelRecord], accounts: Accounts, order: CleanUpOrder
    ) -> Eviction:
        candidates = [
            Candidate(record.id, self._unused_s(record), self._protection(record, accounts))
            for record in records
        ]
        return plan_eviction(
            candidates, accounts, unused_s=order.unused_s, free_bytes=order.free_bytes
        )

    def _carry_out(
        self,
        plan: Eviction,
        records: dict[str, ModelRecord],
        accounts: Accounts,
        *,
        dry_run: bool,
    ) -> list[DeleteReport]:
        reports: list[DeleteReport] = []
        freed_bytes = 0
        for number, victim in enumerate(plan.victims, 1):
            # What two victims share becomes free with the second of them.
            sum_bytes = accounts.freed_bytes(plan.victims[:number])
            record = records[victim]
            report = deletion_report(record, accounts, dry_run=dry_run)
            freed = {
                "freed_bytes": sum_bytes - freed_bytes,
                "kept_bytes": record.size_bytes - sum_bytes + freed_bytes,
            }
            reports.append(report.model_copy(update=freed))
            freed_bytes = sum_bytes
        if not dry_run:
            self.store.forget(records[victim] for victim in plan.victims)
        return reports

    def _protection(self, record: ModelRecord, accounts: Accounts) -> str | None:
        names = self._holders(record, accounts)
        if names:
            return f"worker {', '.join(names)} uses it"
        if self.store.claims.is_held(record.id):
            return "it is being downloaded or imported"
        return None

    def _holders(self, record: ModelRecord, accounts: Accounts) -> list[str]:
        ids = {holding.id for holding in accounts.holdings}
        return holders(record, self.workers, set(self.store.paths(record).values()), ids)

    def _unused_s(self, record: ModelRecord) -> float:
        """How long nobody has used a model; one that was never used counts from its arrival."""
        now_ms = self.store.clock.unix_ms()
        moments = [_unix_ms(record.added_at), self.store.records.used_unix_ms(record.id)]
        # A clock that was far ahead once must not protect a model until that date has come.
        believed = [it for it in moments if it is not None and it < now_ms + _CLOCKS_DIFFER_MS]
        return (now_ms - max(believed, default=0)) / 1000

    def _sweep(self, *, dry_run: bool) -> int:
        """Delete old contents without a model and old unfinished files; how much that frees."""
        if self.store.claims.any_held():
            return 0
        swept_bytes = 0
        for sha256, status in self.store.orphans().items():
            # A second name is of a model whose record was lost: that goes first, and is told anew.
            if status.st_nlink == 1 and self._is_old(status.st_ctime):
                swept_bytes += status.st_size
                if not dry_run:
                    self.store.blobs.remove(sha256)
        for path in self.store.partial_files():
            with contextlib.suppress(OSError):
                swept_bytes += self._sweep_partial(path, dry_run=dry_run)
        if not dry_run:
            self.store.clear_shelf()
        return swept_bytes

    def _sweep_partial(self, path: Path, *, dry_run: bool) -> int:
        # The lock files stay for ever: removing one would let two holders lock two files.
        status = path.lstat()
        if path.suffix == _LOCK or not self._is_old(status.st_mtime):
            return 0
        lock_path = path.with_name(path.name.partition(".")[0] + _LOCK)
        lock = FileLock(lock_path) if lock_path.exists() else None
        if lock is not None and not lock.try_acquire():
            return 0
        freed_bytes = bytes_under(path) if status.st_nlink == 1 or path.is_dir() else 0
        try:
            if not dry_run:
                _remove(path)
        finally:
            if lock is not None:
                lock.release()
        return freed_bytes

    def _is_old(self, moment_s: float) -> bool:
        return self.store.clock.unix_ms() / 1000 - moment_s > _LEFT_BEHIND_S


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _unix_ms(moment: str | None) -> int | None:
    if moment is None:
        return None
    try:
        return round(datetime.fromisoformat(moment).timestamp() * 1000)
    except ValueError:
        return None
