"""Composes filters and a ranking into a choice, and says why.

Callers offer candidates from their indexes; this module never looks further.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from orchestrator_core.cluster.pools import PoolRecord
from orchestrator_core.cluster.workers import WorkerRecord
from orchestrator_core.contracts.pool import Backend
from orchestrator_core.placement.filters import HomeNeed, WorkNeed, home_refusal, worker_refusal
from orchestrator_core.units import format_bytes

__all__ = ["Choice", "choose_home", "choose_worker", "free_memory_bytes"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """The chosen one, or None, and the reasons for either."""

    chosen: T | None
    reasons: tuple[str, ...]


def choose_worker(candidates: Iterable[WorkerRecord], need: WorkNeed) -> Choice[WorkerRecord]:
    """Choose a ready worker with a free slot: fewest slots in use, then the smaller id."""
    best: WorkerRecord | None = None
    refused: list[str] = []
    for worker in candidates:
        reason = worker_refusal(worker, need)
        if reason is not None:
            refused.append(f"worker {worker.worker_id} {reason}")
        elif best is None or _burden(worker) < _burden(best):
            best = worker
    if best is None:
        return Choice(None, tuple(refused) or ("no worker serves this model",))
    busy = f"{best.slots.used} of {best.slots_total} slots in use"
    return Choice(best, (f"worker {best.worker_id} on pool {best.pool_id} is least busy: {busy}",))


def choose_home(pools: Iterable[PoolRecord], need: HomeNeed) -> Choice[PoolRecord]:
    """Choose a pool for a new worker: fewest strikes, most free memory, then the smaller id."""
    best: PoolRecord | None = None
    refused: list[str] = []
    pinned_is_known = need.pool_id is None
    for pool in pools:
        pinned_is_known = pinned_is_known or pool.pool_id == need.pool_id
        reason = home_refusal(pool, need)
        if reason is not None:
            refused.append(f"pool {pool.pool_id} {reason}")
        elif best is None or _distance(pool, need) < _distance(best, need):
            best = pool
    if best is None:
        if not pinned_is_known:
            refused.append(f"pool {need.pool_id} is not known: it never registered, or was removed")
        return Choice(None, tuple(refused) or ("no pool has registered",))
    free = format_bytes(free_memory_bytes(best, need.spec.backend))
    return Choice(best, (f"pool {best.pool_id} has the most free memory: {free}",))


def free_memory_bytes(pool: PoolRecord, backend: Backend) -> int:
    """The free memory of the pool's roomiest sound device for this backend."""
    fitting = (d.memory_free_bytes for d in pool.devices if backend in d.backends and d.is_sound)
    return max(fitting, default=0)


def _burden(worker: WorkerRecord) -> tuple[int, str]:
    return worker.slots.used, worker.worker_id


def _distance(pool: PoolRecord, need: HomeNeed) -> tuple[int, int, str]:
    strikes = need.strikes.get(pool.pool_id, 0)
    return strikes, -free_memory_bytes(pool, need.spec.backend), pool.pool_id
