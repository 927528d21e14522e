"""Pools, workers, pumps, clients and restarts act at random on a machine that checks itself.

LLORCH_SIM_SEED repeats a run, LLORCH_SIM_EXAMPLES makes it longer.
"""

import os
import secrets
from dataclasses import replace
from typing import TypeVar

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from orchestrator_core.contracts.pool import Owner, WorkerStatus
from orchestrator_core.contracts.tasks import Priority
from orchestrator_core.errors import Code
from support.machine_cast import ALIVE, POOLS, SPECS, FakeJob, FakeWorker
from support.machine_settling import settle
from support.machine_world import MachineWorld

T = TypeVar("T")
SOME = st.integers(0, 1000)
MODEL = st.integers(0, len(SPECS) - 1)
POOL = st.sampled_from(POOLS)
START_ERRORS = (Code.WORKER_START_FAILED, Code.MODEL_INCOMPATIBLE, Code.BACKEND_UNAVAILABLE)
BREAKS = (Code.WORKER_LOST, Code.WORKER_REFUSED, Code.TIMEOUT, Code.UNREACHABLE)


class Faults(RuleBasedStateMachine):
    """Every rule is something that may happen at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.world = MachineWorld()

    def running(self) -> list[FakeJob]:
        return [job for job in self.world.jobs.values() if job.run is not None]

    def retried(self) -> list[FakeJob]:
        return [job for job in self.running() if job.attempt > 1]

    def workers(self) -> list[FakeWorker]:
        return [w for pool in self.world.pools.values() for w in pool.workers.values()]

    def coming(self) -> list[FakeWorker]:
        going = (WorkerStatus.STARTING, WorkerStatus.LOADING)
        return [worker for worker in self.workers() if worker.status in going]

    def ordered(self) -> list[str]:
        return [pool.name for pool in self.world.pools.values() if pool.orders]

    @initialize(up=st.sampled_from((POOLS, POOLS, POOLS[:1], ())))
    def begin(self, up: tuple[str, ...]) -> None:
        for name in up:
            self.world.register(self.world.pools[name])

    # What goes as it should.

    @rule(
        count=st.integers(1, 6),
        model=MODEL,
        pin=st.sampled_from((None, None, None, 0, 1)),
        slots=st.sampled_from((1, 1, 1, 2, 3)),
        deadline_s=st.sampled_from((None, None, None, 3.0, 30.0)),
        key=st.integers(1, 3),
        priority=st.sampled_from(Priority),
    )
    def submit(self, count: int, model: int, key: int, **facts: object) -> None:
        for _ in range(count):
            self.world.submit(model, key=key, weight=key, **facts)

    @rule(seconds=st.sampled_from((0.1, 1.0, 1.0, 5.0)))
    def pools_work(self, seconds: float) -> None:
        for pool in self.world.pools.values():
            while pool.up and pool.orders:
                self.world.take_order(pool, None)
        for worker in self.coming():
            worker.status = WorkerStatus.READY
        self.pools_beat()
        self.world.advance(seconds)

    @rule()
    def pools_beat(self) -> None:
        for pool in self.world.pools.values():
            if pool.up:
                self.world.beat(pool)

    @precondition(lambda self: self.running())
    @rule(count=st.integers(1, 4), some=SOME)
    def pumps_work(self, count: int, some: int) -> None:
        for _ in range(min(count, len(self.running()))):
            job = _pick(self.running(), some)
            if job.doomed:
                self.world.break_off(job, Code.WORKER_LOST, retriable=True)
            else:
                self.world.end(job)

    @precondition(lambda self: self.running())
    @rule(some=SOME)
    def pump_accepts(self, some: int) -> None:
        self.world.accept(_pick(self.running(), some))

    @precondition(lambda self: self.world.holds)
    @rule(some=SOME)
    def worker_is_seen_idle(self, some: int) -> None:
        self.world.let_go(some)

    @rule(name=POOL, model=MODEL, number=st.integers(0, 2))
    def person_spawns_worker(self, name: str, model: int, number: int) -> None:
        pool = self.world.pools[name]
        worker = FakeWorker(f"wrk_person_{name}_{number}", SPECS[model], Owner.OPERATOR)
        if worker.id not in pool.started:
            pool.started.add(worker.id)
            pool.workers[worker.id] = worker

    # What goes wrong.

    @precondition(lambda self: self.world.jobs)
    @rule(some=SOME, number=st.integers(1, 3))
    def cancel(self, some: int, number: int) -> None:
        for step in range(number):
            self.world.cancel(_pick(list(self.world.jobs.values()), some + step))

    @rule(seconds=st.sampled_from((0.1, 2.0, 16.0, 46.0, 61.0)))
    def silence(self, seconds: float) -> None:
        self.world.advance(seconds)

    @rule(name=POOL, back=st.booleans())
    def pool_restarts(self, name: str, *, back: bool) -> None:
        self.world.pools[name].up = False
        if back:
            self.world.register(self.world.pools[name])

    @rule(name=POOL, goes=st.booleans())
    def pool_is_removed(self, name: str, *, goes: bool) -> None:
        """Somebody takes it out of the books; one that goes on reporting comes back."""
        self.world.remove(self.world.pools[name])
        if goes:
            self.world.pools[name].up = False

    @rule(name=POOL, tells=st.booleans())
    def pool_drains_or_resumes(self, name: str, *, tells: bool) -> None:
        pool = self.world.pools[name]
        pool.draining = not pool.draining
        if tells and pool.up:
            self.world.beat(pool)

    @precondition(lambda self: self.ordered())
    @rule(some=SOME, refusal=st.sampled_from((Code.CONFLICT, Code.UNREACHABLE)))
    def pool_refuses_order(self, some: int, refusal: Code) -> None:
        self.world.take_order(self.world.pools[_pick(self.ordered(), some)], refusal)

    @precondition(lambda self: self.coming())
    @rule(some=SOME, code=st.sampled_from((None, *START_ERRORS)))
    def worker_start_goes_on_or_fails(self, some: int, code: Code | None) -> None:
        worker = _pick(self.coming(), some)
        if code is None:
            worker.status = WorkerStatus.LOADING
        else:
            worker.error_code = code
            self.world.kill_worker(worker, WorkerStatus.FAILED)

    @precondition(lambda self: self.workers())
    @rule(some=SOME, how=st.sampled_from(("dies", "vanishes", "is stopped")))
    def worker_goes(self, some: int, how: str) -> None:
        worker = _pick(self.workers(), some)
        if how == "is stopped":
            self.world.stop_worker(worker)
            return
        if worker.status in ALIVE:
            self.world.kill_worker(worker, WorkerStatus.FAILED)
        if how == "vanishes":
            for pool in self.world.pools.values():
                pool.forgotten |= pool.workers.keys() & {worker.id}

    @precondition(lambda self: self.running())
    @rule(
        some=SOME,
        reason=st.sampled_from(BREAKS),
        retriable=st.sampled_from((True, True, False)),
        more=st.sampled_from((0, 3)),
        resumable=st.booleans(),
        computing=st.booleans(),
    )
    def pump_breaks(self, some: int, reason: Code, **how: object) -> None:
        self.world.break_off(_pick(self.running(), some), reason, **how)

    @precondition(lambda self: self.retried())
    @rule(some=SOME)
    def late_fact_comes(self, some: int) -> None:
        job = _pick(self.retried(), some)
        late = replace(self.world.ended_fact(job.run), attempt=job.attempt - 1)
        before = self.world.machine.late_facts
        assert self.world.machine.handle(late) == []
        assert self.world.machine.late_facts == before + 1

    @rule(cancels=st.booleans(), resumable=st.booleans())
    def orchestrator_restarts(self, *, cancels: bool, resumable: bool) -> None:
        self.world.restart(cancels=cancels, resumable=resumable)

    @invariant()
    def the_books_agree(self) -> None:
        for job in self.world.jobs.values():
            known = self.world.machine.job_status(job.facts.id) is not None
            assert known == (job.finish is None)

    def teardown(self) -> None:
        settle(self.world)


def _pick(items: list[T], some: int) -> T:
    return items[some % len(items)]


def test_every_job_ends_exactly_once_whatever_happens():
    chosen = int(os.environ.get("LLORCH_SIM_SEED") or secrets.randbits(32))
    examples = int(os.environ.get("LLORCH_SIM_EXAMPLES", "400"))
    print(f"LLORCH_SIM_SEED={chosen}")
    run_state_machine_as_test(
        seed(chosen)(Faults),
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
