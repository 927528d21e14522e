"""What the API shows of the machine: copies, so that no reader can write to the state."""

from dataclasses import dataclass

from orchestrator_core.cluster.pools import PoolRecord
from orchestrator_core.cluster.workers import ServiceKey, WorkerRecord
from orchestrator_core.contracts.pool import (
    DeviceReport,
    ModelReport,
    Owner,
    PoolState,
    WorkerReport,
    WorkerStatus,
)
from orchestrator_core.ids import PoolId, SessionId, WorkerId
from orchestrator_core.scheduler.state import MachineState

__all__ = ["PoolFacts", "WorkerFacts", "show_pool", "show_worker"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """A worker with the slots as they are counted here; report is None until its pool spoke."""

    worker_id: WorkerId
    pool_id: PoolId
    key: ServiceKey
    owner: Owner
    status: WorkerStatus
    generation: int
    incarnation: int
    slots_total: int
    slots_used: int
    takes_work: bool
    report: WorkerReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """A pool with the workers that it reported last."""

    pool_id: PoolId
    session_id: SessionId
    status: PoolState
    endpoint: str
    version: str
    last_seen_at: float
    devices: tuple[DeviceReport, ...]
    models: tuple[ModelReport, ...]
    engines: tuple[str, ...]
    workers: tuple[WorkerFacts, ...]


def show_worker(worker: WorkerRecord) -> WorkerFacts:
    """Copy a worker for readers."""
    return WorkerFacts(
        worker_id=worker.worker_id,
        pool_id=worker.pool_id,
        key=worker.key,
        owner=worker.owner,
        status=worker.status,
        generation=worker.generation,
        incarnation=worker.incarnation,
        slots_total=worker.slots_total,
        slots_used=worker.slots.used,
        takes_work=worker.open and worker.free > 0,
        report=worker.report,
    )


def show_pool(state: MachineState, pool: PoolRecord) -> PoolFacts:
    """Copy a pool for readers."""
    workers = (show_worker(state.workers[name]) for name in sorted(pool.worker_ids))
    return PoolFacts(
        pool_id=pool.pool_id,
        session_id=pool.session_id,
        status=pool.status,
        endpoint=pool.endpoint,
        version=pool.version,
        last_seen_at=pool.last_seen_at,
        devices=pool.devices,
        models=pool.models,
        engines=pool.engines,
        workers=tuple(workers),
    )
