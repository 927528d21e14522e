"""Tells a machine that checks itself everything that could be said, in any order and with any time.

Facts come doubled, late, from sessions that are over, about jobs and workers that never were, and
from pools that contradict themselves. The machine may refuse them; it may not break.
"""

import os
import secrets
from random import Random

import pytest

from orchestrator_core.contracts.pool import Owner, WorkerReport, WorkerStatus
from orchestrator_core.contracts.tasks import Priority
from orchestrator_core.errors import Code
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.scheduler import commands as c
from orchestrator_core.scheduler import events as e
from orchestrator_core.scheduler.limits import MachineLimits
from orchestrator_core.scheduler.machine import Machine
from orchestrator_core.testing.facts import (
    job_facts,
    job_id,
    key_id,
    pool_beat,
    pool_registered,
)
from orchestrator_core.testing.reports import worker_report, worker_spec

SPECS = (worker_spec("slim", parallel=1), worker_spec("wide", parallel=3))
POOLS = ("attic", "barn", "cellar", "dome")
PINS = (*POOLS, "nowhere")
JUMPS_S = (0.0, 0.0, 0.01, 0.5, 5.0, 16.0, 50.0, 400.0, 30_000.0)
BREAKS = (Code.WORKER_LOST, Code.WORKER_REFUSED, Code.TIMEOUT, Code.UNREACHABLE, Code.LOADING)
LIMITS = MachineLimits(
    queue_timeout_s=300.0, attempt_timeout_s=60.0, load_timeout_s=60.0, settle_batch=3
)
STEPS = 150


class Liar:
    """Says one thing after another; what it has seen of the machine's answers makes it worse."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.machine = Machine(nonce=seed, limits=LIMITS, validate=True)
        self.at = 1.0
        self.jobs = 0
        self.ids: set[str] = set()
        self.log: list[list[c.Command]] = []
        self.workers: list[str] = ["wrk_a", "wrk_b", "wrk_c"]
        self.attempts: list[tuple[str, int, str]] = []
        self.told: list[e.Event] = []

    def run(self) -> None:
        for _ in range(STEPS):
            self.at += self.dice.choice(JUMPS_S)
            self.tell(self.dice.choice(self.told) if self._rarely() and self.told else self.any())

    def tell(self, event: e.Event) -> None:
        if isinstance(event, e.JobArrived | e.JobRestored):
            # Ids of jobs come from our own store alone: none is given out a second time.
            if event.job.id in self.ids - self.machine.state.jobs.keys():
                return
            self.ids.add(event.job.id)
        self.told.append(event)
        answer = self.machine.handle(event)
        self.log.append(answer)
        for command in answer:
            if isinstance(command, c.StartWorker):
                self.workers.append(command.worker_id)
            if isinstance(command, c.Dispatch):
                self.attempts.append((command.job_id, command.attempt, command.worker_id))
        for job in list(self.machine.state.jobs)[:3]:
            assert all(self.machine.explain(job))
        for spec in SPECS:
            key = next(
                (k for k in self.machine.state.services if k.model == spec.model.model_id), None
            )
            if key is not None:
                self.machine.supply(key, None)
                self.machine.forecast(key, PoolId("barn"), Priority.BATCH)

    def any(self) -> e.Event:
        dice = self.dice
        return dice.choice(
            (
                self.job,
                self.job,
                self.attempt,
                self.attempt,
                self.attempt,
                self.pool,
                self.pool,
                self.pool,
                self.tick,
                self.tick,
                self.small,
            )
        )()

    def _rarely(self) -> bool:
        return self.dice.random() < 0.1

    def _time(self) -> float:
        return self.at - self.dice.choice((0.0, 0.0, 0.0, 1.0, 100.0))

    def tick(self) -> e.Event:
        due = self.machine.next_alarm_at
        if due is not None and self.dice.random() < 0.7:
            self.at = max(self.at, due)
        return e.Tick(at=self._time())

    def job(self) -> e.Event:
        dice = self.dice
        self.jobs += 1
        number = self.jobs if dice.random() < 0.9 else dice.randint(1, self.jobs)
        job = job_facts(
            number,
            spec=dice.choice(SPECS),
            priority=dice.choice(tuple(Priority)),
            queued_at=self._time(),
            deadline_at=dice.choice((None, None, self.at + 20.0, self.at - 1.0)),
            slots=dice.choice((1, 1, 2, 5)),
            durable=dice.random() < 0.5,
            pin_pool=dice.choice((None, None, None, *PINS)),
            key=key_id(dice.randint(1, 3)),
            weight=dice.choice((1, 1, 7)),
        )
        if dice.random() < 0.8:
            return e.JobArrived(at=self._time(), job=job)
        return e.JobRestored(
            at=self._time(),
            job=job,
            attempt=dice.choice((0, 1, 4)),
            was_alive=dice.random() < 0.5,
            tokens_kept=dice.choice((0, 9)),
            resumable=dice.random() < 0.5,
            cancel_requested=self._rarely(),
            pool_id=dice.choice((None, *map(PoolId, PINS))),
        )

    def attempt(self) -> e.Event:
        dice, at = self.dice, self._time()
        known = self.attempts and dice.random() < 0.9
        job, number, worker = dice.choice(self.attempts[-8:]) if known else (job_id(1), 1, "wrk_a")
        kind = dice.randint(0, 5)
        about = {"at": at, "job_id": job, "attempt": number}
        if kind == 0:
            return e.AttemptAccepted(**about)
        if kind == 1:
            return dice.choice((e.FirstToken(**about), e.AttemptProgress(**about, tokens=4)))
        if kind == 2:
            return e.AttemptEnded(
                **about, stop_reason="stop", tokens_out=1, usage=None, timings=None
            )
        if kind == 3:
            return e.SlotsSeenIdle(**about, worker_id=WorkerId(worker))
        return e.AttemptBroken(
            **about,
            reason=dice.choice(BREAKS),
            message="it broke",
            retriable=dice.random() < 0.8,
            tokens_kept=dice.choice((0, 3, 20)),
            resumable=dice.random() < 0.5,
            computing=dice.random() < 0.5,
        )

    def pool(self) -> e.Event:
        dice = self.dice
        name, at, session = dice.choice(POOLS), self._time(), dice.randint(1, 3)
        names = set(dice.choices(self.workers[-8:] + self.workers[:3], k=dice.randint(0, 4)))
        reports = [self.report(worker) for worker in sorted(names)]
        if self._rarely():
            return e.PoolForgotten(at=at, pool_id=PoolId(name))
        if dice.random() < 0.4:
            return pool_registered(
                name, at=at, session=session, workers=reports, draining=self._rarely()
            )
        known = self.machine.state.pools.get(PoolId(name))
        beat = pool_beat(name, at=at, session=session, workers=reports, draining=self._rarely())
        if known is None or dice.random() < 0.2:
            return beat
        return e.PoolBeat(
            at=at,
            pool_id=known.pool_id,
            session_id=known.session_id,
            devices=beat.devices if dice.random() < 0.9 else (),
            workers=beat.workers,
            draining=beat.draining,
        )

    def report(self, worker: str) -> WorkerReport:
        dice = self.dice
        mine = dice.random() < 0.7
        facts = worker_report(
            worker,
            spec=dice.choice(SPECS),
            owner=Owner.ORCHESTRATOR if mine else Owner.OPERATOR,
            status=dice.choice((*WorkerStatus, WorkerStatus.READY, WorkerStatus.READY)),
        )
        return facts.model_copy(
            update={
                "incarnation": dice.choice((1, 1, 2, 3)),
                "slots_total": dice.choice((facts.slots_total, 0, 1, 9)),
            }
        )

    def small(self) -> e.Event:
        dice, at = self.dice, self._time()
        worker = WorkerId(dice.choice(self.workers))
        if dice.random() < 0.4:
            return e.CancelRequested(at=at, job_id=job_id(dice.randint(1, self.jobs + 1)))
        if dice.random() < 0.5:
            return e.WorkerStopRequested(at=at, worker_id=worker)
        return e.SpawnRefused(
            at=at,
            pool_id=PoolId(dice.choice(POOLS)),
            worker_id=worker,
            reason=dice.choice((Code.CONFLICT, Code.UNREACHABLE, Code.MODEL_INCOMPATIBLE)),
            message="no",
        )


def test_nothing_that_is_said_breaks_the_machine():
    first = int(os.environ.get("LLORCH_SIM_SEED") or secrets.randbits(32))
    for seed in range(first, first + int(os.environ.get("LLORCH_SIM_LIARS", "60"))):
        liar = Liar(seed)
        try:
            liar.run()
        except Exception:
            print(f"LLORCH_SIM_SEED={seed}; the last fact: {liar.told[-1]}")
            raise


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_same_facts_bring_the_same_orders(seed: int):
    liar = Liar(seed)
    liar.run()
    for _ in range(2):
        again = Machine(nonce=seed, limits=LIMITS, validate=False)
        assert [again.handle(event) for event in liar.told] == liar.log
