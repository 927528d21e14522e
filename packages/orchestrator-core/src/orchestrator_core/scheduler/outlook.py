"""What a job that comes now may expect: who serves it, when it starts, when there is room.

The gate asks before it admits a job; the answers are estimates from what the machine has seen.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from typing import Final

from orchestrator_core.cluster.workers import COMING, ServiceKey, WorkerRecord
from orchestrator_core.contracts.tasks import Priority
from orchestrator_core.errors import Refusal
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.scheduler.loads import has_given_up
from orchestrator_core.scheduler.records import Offer, Service
from orchestrator_core.scheduler.state import MachineState

__all__ = ["Forecast", "Supply", "forecast", "room_in_s", "supply"]

_WORKERS_NAMED: Final = 4
_ROOM_UNKNOWN_S: Final = 5
_ROOM_MAX_S: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What serves a (model, task) now.

    slots_open counts the slots of the workers that take work, in use or not; coming says that a
    worker is on its way. ctx is the largest context of these workers, and workers names a few of
    them. refusal says why nothing will serve this for now.
    """

    slots_open: int
    coming: bool
    waiting: int
    ctx: int | None = None
    workers: tuple[tuple[PoolId, WorkerId], ...] = ()
    refusal: Refusal | None = None


_NOTHING: Final = Supply(slots_open=0, coming=False, waiting=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Seconds until a job that came now would start, and how long it would run; None: unknown."""

    start_in_s: float | None
    run_s: float | None


def supply(state: MachineState, key: ServiceKey, pin: PoolId | None) -> Supply:
    """Say what serves a (model, task) now, on the pinned pool if there is one."""
    service = state.services.get(key)
    if service is None:
        return _NOTHING
    offer = _offer(service, pin)
    return Supply(
        slots_open=offer.slots_open,
        coming=offer.coming_at is not None,
        waiting=service.waiting,
        ctx=offer.ctx,
        workers=offer.workers,
        refusal=has_given_up(service, pin, state.now),
    )


def forecast(
    state: MachineState, key: ServiceKey, pin: PoolId | None, priority: Priority
) -> Forecast:
    """Estimate when a job of this class would start and how long it would run.

    Everybody of its class who waits is taken to go first, and every job to take one slot.
    """
    service = state.services.get(key)
    if service is None:
        return Forecast(start_in_s=None, run_s=None)
    run_s = service.run_s.value
    ahead = sum(_ahead(service, priority, lane_pin) for lane_pin in {None, pin})
    offer = _offer(service, pin)
    if offer.slots_open:
        if not ahead and _has_room(service, pin):
            return Forecast(start_in_s=0.0, run_s=run_s)
        return Forecast(start_in_s=_after(ahead + 1, run_s, offer.slots_open), run_s=run_s)
    load_s = service.load_s.value
    queue_s = _after(ahead, run_s, 1) if ahead else 0.0
    if load_s is None or queue_s is None or has_given_up(service, pin, state.now) is not None:
        return Forecast(start_in_s=None, run_s=run_s)
    elapsed_s = 0.0 if offer.coming_at is None else state.now - offer.coming_at
    return Forecast(start_in_s=max(0.0, load_s - elapsed_s) + queue_s, run_s=run_s)


def room_in_s(state: MachineState) -> int:
    """Estimate when a full queue has room again: about when the next job ends."""
    gap_s = state.endings.gap_s(state.now)
    return _ROOM_UNKNOWN_S if gap_s is None else min(max(1, ceil(gap_s)), _ROOM_MAX_S)


def _offer(service: Service, pin: PoolId | None) -> Offer:
    if pin is not None:
        return _look(worker for worker in service.workers.values() if worker.pool_id == pin)
    if service.offer is None:
        # Every request asks, and workers change seldom.
        service.offer = _look(service.workers.values())
    return service.offer


def _look(workers: Iterable[WorkerRecord]) -> Offer:
    slots_open, ctx, coming_at = 0, None, None
    named: list[tuple[PoolId, WorkerId]] = []
    for worker in workers:
        if worker.open:
            slots_open += worker.slots_total
            spec = worker.spec if worker.report is None else worker.report.spec
            ctx = max(ctx or 0, spec.ctx or 0) or None
            if len(named) < _WORKERS_NAMED:
                named.append((worker.pool_id, worker.worker_id))
        elif worker.status in COMING:
            coming_at = min(worker.came_at, coming_at or worker.came_at)
    return Offer(slots_open, ctx, coming_at, tuple(named))


def _has_room(service: Service, pin: PoolId | None) -> bool:
    if pin is None:
        return len(service.open) > 0
    return any(it.open and it.free > 0 for it in service.workers.values() if it.pool_id == pin)


def _ahead(service: Service, priority: Priority, pin: PoolId | None) -> int:
    lane = service.lanes.get(pin)
    if lane is None:
        return 0
    return len(lane) if priority is Priority.BATCH else lane.count(is_batch=False)


def _after(jobs: int, run_s: float | None, slots: int) -> float | None:
    return None if run_s is None else jobs * run_s / slots
