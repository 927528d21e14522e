"""Folds what a pool reports of its workers into the records, and settles what follows.

Workers come, change, fail and vanish; the services that this touches are served once at the end.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from orchestrator_core.cluster.pools import PoolRecord
from orchestrator_core.cluster.workers import (
    ALIVE,
    COMING,
    SERVING,
    ServiceKey,
    WorkerRecord,
    observe,
)
from orchestrator_core.contracts.pool import WorkerReport, WorkerStatus
from orchestrator_core.errors import Code
from orchestrator_core.ids import WorkerId
from orchestrator_core.scheduler.loads import revive, start_failed, start_succeeded
from orchestrator_core.scheduler.matching import serve_service
from orchestrator_core.scheduler.orders import ensure_supply, retire
from orchestrator_core.scheduler.records import Failure, Service
from orchestrator_core.scheduler.state import Commands, MachineState

__all__ = ["Folded", "fold", "lose", "settle", "settle_folded", "workers_of"]


@dataclass(slots=True)
class Folded:
    """What one report changed: services to serve again, and starts that failed."""

    services: dict[ServiceKey, Service] = field(default_factory=dict[ServiceKey, Service])
    failures: list[tuple[Service, Failure]] = field(default_factory=list[tuple[Service, Failure]])


def settle(state: MachineState, services: Iterable[Service], at: float, out: Commands) -> None:
    """Serve the queues of these services and order the workers that they lack."""
    for service in services:
        serve_service(state, service, at, out)
        ensure_supply(state, service, at, out)


def settle_folded(
    state: MachineState, pool: PoolRecord, folded: Folded, at: float, out: Commands
) -> None:
    """Count the failed starts, then serve every service that the report touched."""
    for service, failure in folded.failures:
        start_failed(state, service, pool.pool_id, failure, out)
    settle(state, [folded.services[key] for key in sorted(folded.services)], at, out)


def fold(
    state: MachineState,
    pool: PoolRecord,
    reports: Iterable[WorkerReport],
    at: float,
    folded: Folded,
    *,
    adopt: bool,
) -> None:
    """Take a full list of workers: new ones are met, missing ones are lost."""
    seen: set[WorkerId] = set()
    for report in reports:
        worker_id = WorkerId(report.id)
        seen.add(worker_id)
        worker = state.workers.get(worker_id)
        if worker is not None and worker.pool_id != pool.pool_id:
            state.late_facts += 1
            continue
        if worker is not None and _serves_something_else(worker, report):
            line = f"pool {pool.pool_id} runs {report.model} under the worker's id by now"
            lose(state, worker, line, at, folded)
            worker = None
        if worker is None:
            worker = _meet(state, pool, report, at)
        _take_report(state, worker, report, at, folded, adopt=adopt)
    for worker in workers_of(state, pool):
        # An order of which no report came yet is still on its way.
        if worker.worker_id not in seen and worker.report is not None:
            lose(state, worker, f"pool {pool.pool_id} no longer knows the worker", at, folded)


def _serves_something_else(worker: WorkerRecord, report: WorkerReport) -> bool:
    # An id that returns for another model must never get the jobs of the old one.
    same = worker.key == ServiceKey(report.model, report.task)
    return not same and report.incarnation >= worker.incarnation


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
        came_at=at,
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
    folded: Folded,
    *,
    adopt: bool,
) -> None:
    was, first = worker.status, worker.report is None
    service = folded.services[worker.key] = state.service(worker.key)
    if not observe(worker, report, at):
        # What it says of itself is not used, but its pool may have been silent and is not now.
        state.late_facts += 1
        state.index(worker)
        return
    state.alarms.starts.discard(worker.worker_id)
    if worker.status not in ALIVE:
        if worker.usable and retire(state, worker, was):
            folded.failures.append((service, _failure_of(report, at)))
        state.index(worker)
        return
    if not worker.ours or (adopt and not worker.stop_ordered):
        worker.usable = True
    if worker.status in SERVING and (first or was not in SERVING):
        # One that is met when it serves already tells nothing about how long it took.
        load_s = at - worker.came_at if was in COMING else None
        start_succeeded(state, service, worker, load_s)
    state.index(worker)
    if service.given_up is not None and not worker.ours and worker.worker_id in service.workers:
        # A person has taken the matter in hand.
        revive(state, service)


def lose(state: MachineState, worker: WorkerRecord, line: str, at: float, folded: Folded) -> None:
    """Forget a worker that its pool knows no longer."""
    service = folded.services[worker.key] = state.service(worker.key)
    if retire(state, worker, worker.status):
        folded.failures.append((service, Failure(Code.WORKER_START_FAILED, line, at)))
    state.drop_worker(worker)


def _failure_of(report: WorkerReport, at: float) -> Failure:
    try:
        code = Code(report.error_code or Code.WORKER_START_FAILED)
    except ValueError:
        code = Code.WORKER_START_FAILED
    ended = "was stopped" if report.status is WorkerStatus.STOPPED else "failed"
    line = report.error_message or f"worker {report.name} {ended} before it was ready"
    return Failure(code, line, at)


def workers_of(state: MachineState, pool: PoolRecord) -> list[WorkerRecord]:
    """The workers of a pool by id."""
    return [state.workers[worker_id] for worker_id in sorted(pool.worker_ids)]
