"""Builders for what the machine is told: jobs, and pools that register and beat."""

from collections.abc import Iterable

from orchestrator_core import ids
from orchestrator_core.contracts.pool import DeviceReport, ModelReport, WorkerReport, WorkerSpec
from orchestrator_core.contracts.tasks import Priority
from orchestrator_core.ids import JobId, KeyId, PoolId, SessionId
from orchestrator_core.scheduler.events import JobFacts, PoolBeat, PoolRegistered
from orchestrator_core.testing.reports import device_report, worker_spec

__all__ = ["job_facts", "job_id", "key_id", "pool_beat", "pool_registered", "session_id"]


def job_id(number: int) -> JobId:
    """The id of the n-th job of a test."""
    return JobId(ids.format_id(ids.PREFIX_JOB, ids.compose_uuid7(0, number)))


def key_id(number: int = 1) -> KeyId:
    """The id of the n-th key of a test."""
    return KeyId(ids.format_id(ids.PREFIX_KEY, ids.compose_uuid7(0, number)))


def session_id(number: int = 1) -> SessionId:
    """The id of the n-th session of a test."""
    return SessionId(ids.format_id(ids.PREFIX_SESSION, ids.compose_uuid7(0, number)))


def job_facts(
    number: int = 1,
    *,
    spec: WorkerSpec | None = None,
    priority: Priority = Priority.INTERACTIVE,
    queued_at: float = 0.0,
    deadline_at: float | None = None,
    slots: int = 1,
    durable: bool = True,
    pin_pool: str | None = None,
    key: KeyId | None = None,
    weight: int = 1,
) -> JobFacts:
    """The n-th job of a test; its model and task are those of its spec."""
    spec = spec or worker_spec()
    return JobFacts(
        id=job_id(number),
        model=spec.model.model_id,
        task=spec.task,
        priority=priority,
        key_id=key or key_id(),
        spec=spec,
        queued_at=queued_at,
        deadline_at=deadline_at,
        slots=slots,
        durable=durable,
        pin_pool=None if pin_pool is None else PoolId(pin_pool),
        weight=weight,
    )


def pool_registered(
    pool: str = "home",
    *,
    at: float = 0.0,
    session: int = 1,
    devices: Iterable[DeviceReport] | None = None,
    workers: Iterable[WorkerReport] = (),
    models: Iterable[ModelReport] = (),
    draining: bool = False,
) -> PoolRegistered:
    """A pool that opens its n-th session."""
    return PoolRegistered(
        at=at,
        pool_id=PoolId(pool),
        session_id=session_id(session),
        devices=(device_report(),) if devices is None else tuple(devices),
        workers=tuple(workers),
        models=tuple(models),
        engines=("embedded",),
        draining=draining,
    )


def pool_beat(
    pool: str = "home",
    *,
    at: float,
    session: int = 1,
    devices: Iterable[DeviceReport] | None = None,
    workers: Iterable[WorkerReport] = (),
    models: tuple[ModelReport, ...] | None = None,
    draining: bool = False,
) -> PoolBeat:
    """A pool's word within its n-th session."""
    return PoolBeat(
        at=at,
        pool_id=PoolId(pool),
        session_id=session_id(session),
        devices=(device_report(),) if devices is None else tuple(devices),
        workers=tuple(workers),
        models=models,
        draining=draining,
    )
