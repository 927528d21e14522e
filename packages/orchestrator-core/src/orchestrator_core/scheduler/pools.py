"""What pools report: sessions, beats, silence, and the workers that come and go with them."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator_core.cluster.pools import (
    PoolRecord,
    heard_status,
    judge_silence,
    next_judgement_at,
)
from orchestrator_core.cluster.workers import ALIVE, SERVING, ServiceKey, WorkerRecord, observe
from orchestrator_core.contracts.pool import (
    PoolState,
    WantedWorker,
    WorkerReport,
    WorkerStatus,
)
from orchestrator_core.errors import Code
from orchestrator_core.ids import WorkerId
from orchestrator_core.scheduler.events import PoolBeat, PoolRegistered
from orchestrator_core.scheduler.matching import serve_service
from orchestrator_core.scheduler.orders import (
    ensure_supply,
    forget_order,
    retire,
    start_failed,
    start_succeeded,
)
from orchestrator_core.scheduler.state import Commands, Failure, MachineState, Service

__all__ = ["judge_pool", "on_beat", "on_registered", "settle"]


@dataclass(slots=True)
class _Folded:
    """What one report changed: services to serve again, and starts that failed."""

    services: dict[ServiceKey, Service] = field(default_factory=dict[ServiceKey, Service])
    failures: list[tuple[Service, Failure]] = field(default_factory=list[tuple[Service, Failure]])


def on_registered(state: MachineState, event: PoolRegistered, out: Commands) -> None:
    """Open a session: adopt the pool's live workers of ours, so that our restart stops nothing."""
    pool = state.pools.get(event.pool_id)
    fresh = pool is None or pool.session_id != event.session_id
    if pool is None:
        pool = state.pools[event.pool_id] = PoolRecord(
            pool_id=event.pool_id, session_id=event.session_id, last_seen_at=event.at
        )
    folded = _Folded()
    if fresh:
        _drop_unheard_orders(state, pool, event.at, folded)
    pool.session_id = event.session_id
    _hear_draining(state, pool, folded, draining=event.draining)
    pool.devices, pool.engines = event.devices, event.engines
    state.hold_models(pool, event.models)
    pool.endpoint, pool.version = event.endpoint, event.version
    _heard(state, pool, event.at)
    _fold(state, pool, event.workers, event.at, folded, adopt=True)
    _want_again(state, pool, revision=0 if fresh else pool.revision + 1)
    _settle_folded(state, pool, folded, event.at, out)
    settle(state, list(state.services.values()), event.at, out)


def on_beat(state: MachineState, event: PoolBeat, out: Commands) -> None:
    """Take a pool's full word; one of a session that is over is counted, not used."""
    pool = state.pools.get(event.pool_id)
    if pool is None or pool.session_id != event.session_id or pool.status is PoolState.LOST:
        state.late_facts += 1
        return
    was_closed = pool.status is not PoolState.ONLINE
    folded = _Folded()
    _hear_draining(state, pool, folded, draining=event.draining)
    pool.devices = event.devices
    _heard(state, pool, event.at)
    _fold(state, pool, event.workers, event.at, folded, adopt=False)
    has_news = event.models is not None and state.hold_models(pool, event.models)
    _settle_folded(state, pool, folded, event.at, out)
    if (was_closed or has_news) and pool.status is PoolState.ONLINE:
        # A pool that takes new workers again, or has fetched a model, may be the home that some
        # service waits for.
        settle(state, list(state.services.values()), event.at, out)


def judge_pool(state: MachineState, pool: PoolRecord, at: float, out: Commands) -> None:
    """Move a silent pool on: suspect gets no new work, lost forgets its workers."""
    limits = state.limits
    verdict = judge_silence(
        pool.last_seen_at,
        at,
        suspect_after_s=limits.suspect_after_s,
        lost_after_s=limits.lost_after_s,
        draining=pool.draining,
    )
    pool.status = verdict
    _arm(state, pool)
    workers = _workers_of(state, pool)
    if verdict is not PoolState.LOST:
        for worker in workers:
            state.index(worker)
        return
    folded = _Folded()
    for worker in workers:
        _lose(state, worker, f"pool {pool.pool_id} was lost", at, folded)
    _settle_folded(state, pool, folded, at, out)


def settle(state: MachineState, services: Iterable[Service], at: float, out: Commands) -> None:
    """Serve the queues of these services and order the workers that they lack."""
    for service in services:
        serve_service(state, service, at, out)
        ensure_supply(state, service, at, out)


def _settle_folded(
    state: MachineState, pool: PoolRecord, folded: _Folded, at: float, out: Commands
) -> None:
    for service, failure in folded.failures:
        start_failed(state, service, pool.pool_id, failure, out)
    settle(state, [folded.services[key] for key in sorted(folded.services)], at, out)


def _fold(
    state: MachineState,
    pool: PoolRecord,
    reports: Iterable[WorkerReport],
    at: float,
    folded: _Folded,
    *,
    adopt: bool,
) -> None:
    seen: set[WorkerId] = set()
    for report in reports:
        worker_id = WorkerId(report.id)
        seen.add(worker_id)
        worker = state.workers.get(worker_id)
        if worker is None:
            worker = _meet(state, pool, report, at)
        elif worker.pool_id != pool.pool_id:
            state.late_facts += 1
            continue
        _take_report(state, worker, report, at, folded, adopt=adopt)
    for worker in _workers_of(state, pool):
        # An order of which no report came yet is still on its way.
        if worker.worker_id not in seen and worker.report is not None:
            _lose(state, worker, f"pool {pool.pool_id} no longer knows the worker", at, folded)


def _meet(state: MachineState, pool: PoolRecord, report: WorkerReport, at: float) -> WorkerRecord:
    worker_id = WorkerId(report.id)
    worker = WorkerRecord(
        worker_id=worker_id,
        pool_id=pool.pool_id,
        key=ServiceKey(report.model, report.task),
        owner=report.owner,
        spec=report.spec,
        slots=state.slots.of(worker_id),
        slots_total=report.slots_total,
        status=report.status,
        status_since=at,
        generation=report.generation,
        incarnation=report.incarnation,
    )
    state.workers[worker_id] = worker
    pool.worker_ids.add(worker_id)
    return worker


def _take_report(
    state: MachineState,
    worker: WorkerRecord,
    report: WorkerReport,
    at: float,
    folded: _Folded,
    *,
    adopt: bool,
) -> None:
    was, first = worker.status, worker.report is None
    if not observe(worker, report, at):
        state.late_facts += 1
        return
    state.alarms.starts.discard(worker.worker_id)
    service = folded.services[worker.key] = state.service(worker.key)
    if worker.status not in ALIVE:
        if worker.usable and retire(state, worker, was):
            folded.failures.append((service, _failure_of(report, at)))
        state.index(worker)
        return
    if not worker.ours or (adopt and not worker.stop_ordered):
        worker.usable = True
    if worker.status in SERVING and (first or was not in SERVING):
        start_succeeded(state, service)
    state.index(worker)


def _lose(state: MachineState, worker: WorkerRecord, line: str, at: float, folded: _Folded) -> None:
    service = folded.services[worker.key] = state.service(worker.key)
    if retire(state, worker, worker.status):
        folded.failures.append((service, Failure(Code.WORKER_START_FAILED, line, at)))
    state.drop_worker(worker)


def _drop_unheard_orders(state: MachineState, pool: PoolRecord, at: float, folded: _Folded) -> None:
    line = f"pool {pool.pool_id} began a new session before it reported the worker"
    for worker in _workers_of(state, pool):
        if worker.report is None:
            service = folded.services[worker.key] = state.service(worker.key)
            forget_order(state, worker)
            folded.failures.append((service, Failure(Code.WORKER_START_FAILED, line, at)))


def _hear_draining(
    state: MachineState, pool: PoolRecord, folded: _Folded, *, draining: bool
) -> None:
    """Take the pool's word; one that begins to drain will not start what it has not reported.

    Its services are served again, because their jobs may now need a worker elsewhere. That an
    order comes to nothing this way is no failed start: it says nothing about the model.
    """
    began = draining and not pool.draining
    changed = draining is not pool.draining
    pool.draining, pool.status = draining, heard_status(draining=draining)
    if not changed:
        return
    for worker in _workers_of(state, pool):
        folded.services[worker.key] = state.service(worker.key)
        if began and worker.report is None:
            forget_order(state, worker)
        else:
            state.index(worker)


def _want_again(state: MachineState, pool: PoolRecord, *, revision: int) -> None:
    pool.revision = revision
    pool.wanted = {
        worker.worker_id: WantedWorker(
            worker_id=worker.worker_id, generation=worker.generation, spec=worker.spec
        )
        for worker in _workers_of(state, pool)
        if worker.ours and worker.usable and not worker.stop_ordered
    }


def _failure_of(report: WorkerReport, at: float) -> Failure:
    try:
        code = Code(report.error_code or Code.WORKER_START_FAILED)
    except ValueError:
        code = Code.WORKER_START_FAILED
    ended = "was stopped" if report.status is WorkerStatus.STOPPED else "failed"
    line = report.error_message or f"worker {report.name} {ended} before it was ready"
    return Failure(code, line, at)


def _workers_of(state: MachineState, pool: PoolRecord) -> list[WorkerRecord]:
    return [state.workers[worker_id] for worker_id in sorted(pool.worker_ids)]


def _heard(state: MachineState, pool: PoolRecord, at: float) -> None:
    pool.last_seen_at = at
    _arm(state, pool)


def _arm(state: MachineState, pool: PoolRecord) -> None:
    limits = state.limits
    due = next_judgement_at(
        pool.status,
        pool.last_seen_at,
        suspect_after_s=limits.suspect_after_s,
        lost_after_s=limits.lost_after_s,
    )
    if due is None:
        state.alarms.liveness.discard(pool.pool_id)
    else:
        state.alarms.liveness.set(pool.pool_id, due)
