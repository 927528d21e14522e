"""Yes or no with a reason: which workers may run a job, which pools may hold a worker.

Each filter answers None for yes or one line for no; a list of filters is a policy.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from orchestrator_core.cluster.pools import PoolRecord
from orchestrator_core.cluster.workers import SERVING, WorkerRecord
from orchestrator_core.contracts.pool import PoolState, WorkerSpec
from orchestrator_core.ids import PoolId

__all__ = [
    "HOME_FILTERS",
    "WORKER_FILTERS",
    "HomeNeed",
    "WorkNeed",
    "home_refusal",
    "worker_refusal",
]


@dataclass(frozen=True, slots=True)
class WorkNeed:
    """What a job asks of a worker; a job wider than the worker takes all of it."""

    slots: int = 1
    pool_id: PoolId | None = None


@dataclass(frozen=True, slots=True)
class HomeNeed:
    """What a new worker asks of a pool; strikes are failed starts of this service by pool.

    quarantine names the pools that are no home for it for now, each with the reason.
    """

    spec: WorkerSpec
    pool_id: PoolId | None = None
    strikes: Mapping[PoolId, int] = field(default_factory=dict[PoolId, int])
    quarantine: Mapping[PoolId, str] = field(default_factory=dict[PoolId, str])


def _on_the_pinned_pool(worker: WorkerRecord, need: WorkNeed) -> str | None:
    if need.pool_id in (None, worker.pool_id):
        return None
    return f"is on pool {worker.pool_id}, the job is pinned to {need.pool_id}"


def _in_service(worker: WorkerRecord, _need: WorkNeed) -> str | None:
    if worker.stop_ordered:
        return "was ordered to stop"
    if not worker.usable:
        return "is not wanted"
    return None if worker.status in SERVING else f"is {worker.status}"


def _open(worker: WorkerRecord, _need: WorkNeed) -> str | None:
    if worker.blocked_at is not None:
        return "lost a connection; its pool has not confirmed it since"
    return None if worker.open else f"is on pool {worker.pool_id}, which has gone silent"


def _has_free_slots(worker: WorkerRecord, need: WorkNeed) -> str | None:
    if worker.free >= min(need.slots, worker.slots_total):
        return None
    return f"has {max(0, worker.free)} of {worker.slots_total} slots free"


WORKER_FILTERS: Final[Sequence[Callable[[WorkerRecord, WorkNeed], str | None]]] = (
    _on_the_pinned_pool,
    _in_service,
    _open,
    _has_free_slots,
)


def worker_refusal(worker: WorkerRecord, need: WorkNeed) -> str | None:
    """The first reason why this worker cannot take the job now."""
    for accepts in WORKER_FILTERS:
        reason = accepts(worker, need)
        if reason is not None:
            return reason
    return None


def _is_the_pinned_pool(pool: PoolRecord, need: HomeNeed) -> str | None:
    if need.pool_id in (None, pool.pool_id):
        return None
    return f"is not the pool {need.pool_id} that the job is pinned to"


def _online(pool: PoolRecord, _need: HomeNeed) -> str | None:
    return None if pool.status is PoolState.ONLINE else f"is {pool.status}"


def _supports_backend(pool: PoolRecord, need: HomeNeed) -> str | None:
    backend = need.spec.backend
    offering = [device for device in pool.devices if backend in device.backends]
    if any(device.is_sound for device in offering):
        return None
    if not offering:
        return f"has no device for backend {backend}"
    fault = offering[0].fault or "its driver does not answer"
    return f"has no sound device for backend {backend}: {offering[0].name}: {fault}"


def _has_model(pool: PoolRecord, need: HomeNeed) -> str | None:
    model = need.spec.model
    if model.source == "external":
        return f"starts no worker for {model.model_id}: somebody else runs the engine that has it"
    if model.source == "builtin":
        return None
    held = next((it for it in pool.models if it.id == model.model_id), None)
    if held is None:
        return f"does not hold model {model.model_id}"
    if None not in (model.sha256, held.sha256) and model.sha256 != held.sha256:
        return f"holds another version of model {model.model_id}"
    return None


def _not_in_quarantine(pool: PoolRecord, need: HomeNeed) -> str | None:
    return need.quarantine.get(pool.pool_id)


HOME_FILTERS: Final[Sequence[Callable[[PoolRecord, HomeNeed], str | None]]] = (
    _is_the_pinned_pool,
    _online,
    _supports_backend,
    _has_model,
    _not_in_quarantine,
)


def home_refusal(pool: PoolRecord, need: HomeNeed) -> str | None:
    """The first reason why this pool cannot hold the worker."""
    for accepts in HOME_FILTERS:
        reason = accepts(pool, need)
        if reason is not None:
            return reason
    return None
