"""What pools say of themselves: sessions, beats, draining, and the silence when they say nothing."""

from orchestrator_core.cluster.pools import (
    PoolRecord,
    heard_status,
    judge_silence,
    next_judgement_at,
)
from orchestrator_core.contracts.pool import DeviceReport, PoolState, WantedWorker
from orchestrator_core.errors import Code
from orchestrator_core.scheduler.brake import apply_brake, held_until
from orchestrator_core.scheduler.events import PoolBeat, PoolForgotten, PoolRegistered
from orchestrator_core.scheduler.folding import (
    Folded,
    fold,
    lose,
    settle,
    settle_folded,
    workers_of,
)
from orchestrator_core.scheduler.loads import revive
from orchestrator_core.scheduler.orders import forget_order, retire
from orchestrator_core.scheduler.records import Failure
from orchestrator_core.scheduler.state import Commands, MachineState

__all__ = ["judge_pool", "on_beat", "on_forgotten", "on_registered"]


def on_registered(state: MachineState, event: PoolRegistered, out: Commands) -> None:
    """Open a session: adopt the pool's live workers of ours, so that our restart stops nothing."""
    pool = state.pools.get(event.pool_id)
    fresh = pool is None or pool.session_id != event.session_id
    if pool is None:
        pool = state.pools[event.pool_id] = PoolRecord(
            pool_id=event.pool_id, session_id=event.session_id, last_seen_at=event.at
        )
    folded = Folded()
    if fresh:
        _drop_unheard_orders(state, pool, event.at, folded)
    pool.session_id = event.session_id
    _hear_draining(state, pool, folded, draining=event.draining)
    pool.devices, pool.engines = event.devices, event.engines
    state.hold_models(pool, event.models)
    pool.endpoint, pool.version = event.endpoint, event.version
    _heard(state, pool, event.at)
    _hope_again(state, pool, fresh=fresh)
    fold(state, pool, event.workers, event.at, folded, adopt=True)
    _want_again(state, pool, revision=0 if fresh else pool.revision + 1)
    settle_folded(state, pool, folded, event.at, out)
    settle(state, list(state.services.values()), event.at, out)


def on_beat(state: MachineState, event: PoolBeat, out: Commands) -> None:
    """Take a pool's full word; one of a session that is over is counted, not used."""
    pool = state.pools.get(event.pool_id)
    if pool is None or pool.session_id != event.session_id or pool.status is PoolState.LOST:
        state.late_facts += 1
        return
    was_closed = pool.status is not PoolState.ONLINE
    folded = Folded()
    _hear_draining(state, pool, folded, draining=event.draining)
    has_news = _sound(event.devices) != _sound(pool.devices)
    pool.devices = event.devices
    _heard(state, pool, event.at)
    if event.models is not None and state.hold_models(pool, event.models):
        has_news = True
    if has_news:
        _hope_again(state, pool, fresh=False)
    fold(state, pool, event.workers, event.at, folded, adopt=False)
    settle_folded(state, pool, folded, event.at, out)
    if (was_closed or has_news) and pool.status is PoolState.ONLINE:
        # A pool that takes new workers again, or has fetched a model, may be the home that some
        # service waits for.
        settle(state, list(state.services.values()), event.at, out)


def on_forgotten(state: MachineState, event: PoolForgotten, out: Commands) -> None:
    """Let a pool go that was removed; nothing waits for it any more."""
    pool = state.pools.get(event.pool_id)
    if pool is None:
        state.late_facts += 1
    else:
        _drop_pool(state, pool, event.at)
    for service in state.services.values():
        service.troubles.pop(event.pool_id, None)
        if event.pool_id in service.awaited:
            service.awaited.remove(event.pool_id)
            if not service.awaited:
                revive(state, service)
    settle(state, list(state.services.values()), event.at, out)


def _drop_pool(state: MachineState, pool: PoolRecord, at: float) -> None:
    """Forget a pool with its workers; that they come to nothing is no failed start."""
    for worker in workers_of(state, pool):
        retire(state, worker, worker.status)
        state.drop_worker(worker)
    state.hold_models(pool, ())
    del state.pools[pool.pool_id]
    state.alarms.liveness.discard(pool.pool_id)
    if state.brake_since is not None:
        _watch(state, at)


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
    if verdict is PoolState.LOST and held_until(state, at) is not None:
        verdict = PoolState.SUSPECT
    pool.status = verdict
    _watch(state, at)
    _arm(state, pool, at)
    workers = workers_of(state, pool)
    if verdict is not PoolState.LOST:
        for worker in workers:
            state.index(worker)
        return
    folded = Folded()
    for worker in workers:
        lose(state, worker, f"pool {pool.pool_id} was lost", at, folded)
    settle_folded(state, pool, folded, at, out)


def _drop_unheard_orders(state: MachineState, pool: PoolRecord, at: float, folded: Folded) -> None:
    line = f"pool {pool.pool_id} began a new session before it reported the worker"
    for worker in workers_of(state, pool):
        if worker.report is None:
            service = folded.services[worker.key] = state.service(worker.key)
            forget_order(state, worker)
            folded.failures.append((service, Failure(Code.WORKER_START_FAILED, line, at)))


def _hear_draining(
    state: MachineState, pool: PoolRecord, folded: Folded, *, draining: bool
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
    for worker in workers_of(state, pool):
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
        for worker in workers_of(state, pool)
        if worker.ours and worker.usable and not worker.stop_ordered
    }


def _hope_again(state: MachineState, pool: PoolRecord, *, fresh: bool) -> None:
    """A pool that came or changed may be able to do what failed before."""
    for service in state.services.values():
        if fresh:
            service.troubles.pop(pool.pool_id, None)
        if service.given_up is not None:
            revive(state, service)
        elif fresh and pool.pool_id in service.awaited:
            service.awaited.remove(pool.pool_id)
            if not service.awaited:
                revive(state, service)


def _sound(devices: tuple[DeviceReport, ...]) -> list[str]:
    return [device.id for device in devices if device.is_sound]


def _heard(state: MachineState, pool: PoolRecord, at: float) -> None:
    pool.last_seen_at = at
    if state.brake_since is not None:
        _watch(state, at)
    _arm(state, pool, at)


def _watch(state: MachineState, at: float) -> None:
    for pool_id in apply_brake(state, at):
        _arm(state, state.pools[pool_id], at)


def _arm(state: MachineState, pool: PoolRecord, at: float) -> None:
    limits = state.limits
    due = next_judgement_at(
        pool.status,
        pool.last_seen_at,
        suspect_after_s=limits.suspect_after_s,
        lost_after_s=limits.lost_after_s,
    )
    if due is None:
        state.alarms.liveness.discard(pool.pool_id)
        return
    held = held_until(state, at)
    if held is not None and due <= at:
        due = held
    state.alarms.liveness.set(pool.pool_id, due)
