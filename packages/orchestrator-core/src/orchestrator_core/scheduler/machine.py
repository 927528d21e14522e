"""The one place where the state of the control plane changes: events in, commands out.

Synchronous, pure and bounded: no clock, no dice, no input or output. The loop of orchestratord
posts what happened, performs what is returned, and posts Tick when next_alarm_at has come.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, TypeVar, cast

from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.contracts.pool import ModelReport, PoolState, WantedSet
from orchestrator_core.contracts.tasks import JobStatus, Priority
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import JobId, PoolId, SessionId, WorkerId
from orchestrator_core.scheduler import (
    alarms,
    arrivals,
    attempts,
    events,
    invariants,
    loads,
    orders,
    pools,
)
from orchestrator_core.scheduler.commands import Command
from orchestrator_core.scheduler.explain import explain
from orchestrator_core.scheduler.limits import MachineLimits
from orchestrator_core.scheduler.outlook import Forecast, Supply, forecast, room_in_s, supply
from orchestrator_core.scheduler.oversleep import forgive_sleep
from orchestrator_core.scheduler.places import place_of
from orchestrator_core.scheduler.state import Commands, MachineState
from orchestrator_core.scheduler.views import PoolFacts, WorkerFacts, show_pool, show_worker

__all__ = ["HANDLERS", "Machine"]

E = TypeVar("E", bound=events.Event)
_Handler = Callable[[MachineState, events.Event, Commands], None]


def _on(
    kind: type[E], handler: Callable[[MachineState, E, Commands], None]
) -> tuple[type[events.Event], _Handler]:
    # The pair keeps what the table cannot say: this handler gets events of this kind only.
    return kind, cast("_Handler", handler)


HANDLERS: Final[Mapping[type[events.Event], _Handler]] = MappingProxyType(
    dict(
        (
            _on(events.JobArrived, arrivals.on_arrived),
            _on(events.JobRestored, arrivals.on_restored),
            _on(events.CancelRequested, arrivals.on_cancel_requested),
            _on(events.AttemptAccepted, attempts.on_accepted),
            _on(events.FirstToken, attempts.on_first_token),
            _on(events.AttemptProgress, attempts.on_progress),
            _on(events.AttemptEnded, attempts.on_ended),
            _on(events.AttemptBroken, attempts.on_broken),
            _on(events.SlotsSeenIdle, attempts.on_seen_idle),
            _on(events.PoolRegistered, pools.on_registered),
            _on(events.PoolBeat, pools.on_beat),
            _on(events.PoolForgotten, pools.on_forgotten),
            _on(events.SpawnRefused, loads.on_spawn_refused),
            _on(events.WorkerStopRequested, orders.on_stop_requested),
            _on(events.Tick, alarms.on_tick),
        )
    )
)


class Machine:
    """Decides which worker runs which job, and nothing else.

    nonce makes its worker ids unique; epoch_ms is the wall time at second 0 of the events' clock;
    validate checks every invariant after every event (tests).
    """

    def __init__(
        self,
        *,
        nonce: int,
        epoch_ms: int = 0,
        limits: MachineLimits | None = None,
        validate: bool = False,
    ) -> None:
        self._state = MachineState(nonce=nonce, epoch_ms=epoch_ms, limits=limits or MachineLimits())
        self._validate = validate

    def handle(self, event: events.Event) -> list[Command]:
        """Take one fact in and return the orders that follow from it."""
        state = self._state
        if event.at - state.now > state.limits.deaf_s:
            forgive_sleep(state, event.at)
        state.now = max(state.now, event.at)
        if state.began_at is None:
            state.began_at = event.at
        out: Commands = []
        HANDLERS[type(event)](state, event, out)
        if self._validate:
            invariants.check(state)
        return out

    @property
    def next_alarm_at(self) -> float | None:
        """When the loop shall post Tick; may be past, then at once."""
        return self._state.alarms.next_at()

    @property
    def state(self) -> MachineState:
        """The state itself, for self-checks, tests and simulations; readers use the queries."""
        return self._state

    @property
    def waiting(self) -> int:
        """Jobs in all sub-queues."""
        return self._state.waiting

    @property
    def late_facts(self) -> int:
        """Facts that came too late to mean anything."""
        return self._state.late_facts

    def session_of(self, pool_id: PoolId) -> SessionId | None:
        """The session whose beats count; None: the pool must register."""
        pool = self._state.pools.get(pool_id)
        return None if pool is None or pool.status is PoolState.LOST else pool.session_id

    def beat_refusal(self, pool_id: PoolId, session_id: SessionId) -> Refusal | None:
        """Why a beat must be refused before it is posted; None: post it."""
        current = self.session_of(pool_id)
        if current == session_id:
            return None
        why = "is not registered" if current is None else "has a newer session"
        return Refusal(Code.STALE_SESSION, f"pool {pool_id} {why}; register again")

    def wanted(self, pool_id: PoolId) -> WantedSet:
        """All workers that this pool shall run for us."""
        pool = self._state.pools.get(pool_id)
        return WantedSet(revision=0, workers=[]) if pool is None else pool.wanted_set()

    def job_status(self, job_id: JobId) -> JobStatus | None:
        """The state of a live job; None: it has ended or never was."""
        job = self._state.jobs.get(job_id)
        return None if job is None else job.status

    def position(self, job_id: JobId) -> int | None:
        """The place of a waiting job in its sub-queue, 1 for the next; None: it does not wait."""
        job = self._state.jobs.get(job_id)
        if job is None or job.status is not JobStatus.QUEUED:
            return None
        return place_of(job)

    def explain(self, job_id: JobId) -> list[str]:
        """Why a live job is where it is."""
        return explain(self._state, job_id)

    def worker_of(self, job_id: JobId) -> WorkerId | None:
        """The worker of a job's current attempt."""
        job = self._state.jobs.get(job_id)
        return None if job is None else job.worker_id

    def worker(self, worker_id: WorkerId) -> WorkerFacts | None:
        """One worker, with the address and key that its pool reported."""
        worker = self._state.workers.get(worker_id)
        return None if worker is None else show_worker(worker)

    def workers(self) -> list[WorkerFacts]:
        """All known workers by id."""
        workers = self._state.workers
        return [show_worker(workers[worker_id]) for worker_id in sorted(workers)]

    def pool(self, pool_id: PoolId) -> PoolFacts | None:
        """One pool."""
        pool = self._state.pools.get(pool_id)
        return None if pool is None else show_pool(self._state, pool)

    def pool_status(self, pool_id: PoolId) -> PoolState | None:
        """How fresh a pool's word is; None: it never registered."""
        pool = self._state.pools.get(pool_id)
        return None if pool is None else pool.status

    def pools(self) -> list[PoolFacts]:
        """All pools that ever registered, by id."""
        known = self._state.pools
        return [show_pool(self._state, known[pool_id]) for pool_id in sorted(known)]

    def depth(self, key: ServiceKey) -> int:
        """Waiting jobs of one sub-queue."""
        service = self._state.services.get(key)
        return 0 if service is None else service.waiting

    def supply(self, key: ServiceKey, pin: PoolId | None) -> Supply:
        """What serves a (model, task) now, and why nothing will for a while."""
        return supply(self._state, key, pin)

    def forecast(self, key: ServiceKey, pin: PoolId | None, priority: Priority) -> Forecast:
        """When a job that came now would start, and how long it would run."""
        return forecast(self._state, key, pin, priority)

    def room_in_s(self) -> int:
        """When a full queue will probably have room, in whole seconds from 1 to 60."""
        return room_in_s(self._state)

    @property
    def brake(self) -> float | None:
        """Since when silent pools are not given up, because most are silent at once."""
        return self._state.brake_since

    @property
    def held_models(self) -> Mapping[str, ModelReport]:
        """The models whose files lie on some pool, by id."""
        return self._state.held_models

    def queue_depths(self) -> dict[ServiceKey, int]:
        """Waiting jobs by (model, task), without the empty ones."""
        services = self._state.services.values()
        return {service.key: service.waiting for service in services if service.waiting}
