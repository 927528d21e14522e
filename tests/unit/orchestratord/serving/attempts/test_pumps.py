"""For everything that is cut short the machine hears exactly once that its slots are idle."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from orchestrator_core.errors import Code
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.scheduler.commands import CancelAttempt, Dispatch
from orchestrator_core.scheduler.events import (
    AttemptAccepted,
    AttemptBroken,
    AttemptEnded,
    Event,
    SlotsSeenIdle,
)
from orchestrator_core.testing.clocks import FakeClock
from orchestrator_core.testing.facts import job_id
from orchestrator_core.testing.reports import worker_report
from orchestratord.runtime.jobs.live import LiveJobs
from orchestratord.runtime.workerbook import WorkerBook
from orchestratord.serving.attempts import pumps as module
from orchestratord.serving.attempts.pumps import Pumps
from orchestratord.serving.attempts.slot_watch import Cut
from orchestratord.settings import OrchestratorSettings

POOL, WORKER = PoolId("home"), WorkerId(f"wrk_{1:026d}")


class StandIn:
    """A pump that says what it is told to say."""

    made: list["StandIn"]

    def __init__(self, *, post: Callable[[Event], None], attempt: int, **_: Any) -> None:
        self.post = post
        self.attempt = attempt
        self.closed = asyncio.Event()
        self.checked = self.told = self.heard_anew = 0
        StandIn.made.append(self)

    def check(self, **_: float) -> None:
        self.checked += 1

    def listen_anew(self, _: float) -> None:
        assert self.checked == 1
        self.heard_anew += 1

    def tell_progress(self) -> None:
        self.told += 1

    async def run(self) -> None:
        await self.closed.wait()

    def close(self) -> None:
        self.closed.set()


@dataclass
class Job:
    """A live job of which only the id matters here."""

    id: str


@dataclass
class Site:
    pumps: Pumps
    told: list[Event]
    cuts: list[Cut]

    def dispatch(self, number: int = 1, attempt: int = 1) -> StandIn:
        self.pumps.dispatch(
            Dispatch(
                job_id=job_id(number),
                attempt=attempt,
                pool_id=POOL,
                worker_id=WORKER,
                incarnation=1,
            )
        )
        return StandIn.made[-1]

    def cancel(self, number: int = 1, attempt: int = 1) -> None:
        self.pumps.cancel(
            CancelAttempt(job_id=job_id(number), attempt=attempt, pool_id=POOL, worker_id=WORKER)
        )

    def idle(self) -> list[tuple[str, int]]:
        """What was told to be idle at once."""
        return [(e.job_id, e.attempt) for e in self.told if isinstance(e, SlotsSeenIdle)]

    def watched(self) -> list[tuple[str, int]]:
        """What is watched until it is."""
        return [(cut.job_id, cut.attempt) for cut in self.cuts]


def broken(*, computing: bool) -> AttemptBroken:
    return AttemptBroken(
        at=1.0,
        job_id=job_id(1),
        attempt=1,
        reason=Code.TIMEOUT,
        message="",
        retriable=True,
        computing=computing,
    )


ENDED = AttemptEnded(
    at=1.0, job_id=job_id(1), attempt=1, stop_reason="stop", tokens_out=1, usage=None, timings=None
)
ACCEPTED = AttemptAccepted(at=1.0, job_id=job_id(1), attempt=1)


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    StandIn.made = []
    monkeypatch.setattr(module, "Pump", StandIn)
    jobs, book, told = LiveJobs(), WorkerBook(), list[Event]()
    for number in range(1, 501):
        jobs.add(Job(job_id(number)))  # pyright: ignore[reportArgumentType] - enough of one.
    book.replace(POOL, [worker_report(WORKER, port=1)])
    async with asyncio.TaskGroup() as tasks:
        pumps = Pumps(
            jobs=jobs,
            book=book,
            clock=FakeClock(),
            settings=OrchestratorSettings(),
            tasks=tasks,
            post=told.append,
            slots_of=lambda _: 3,
        )
        cuts: list[Cut] = []
        monkeypatch.setattr(pumps.watch, "expect", cuts.append)
        yield Site(pumps, told, cuts)
        pumps.close()


async def test_a_cancelled_attempt_is_closed_at_once_and_watched(site: Site) -> None:
    pump = site.dispatch()
    site.cancel()
    assert pump.closed.is_set()
    assert (site.watched(), site.idle()) == ([(job_id(1), 1)], [])
    assert (site.cuts[0].slots, len(site.pumps)) == (3, 0)


async def test_what_was_never_begun_or_has_ended_is_idle_at_once(site: Site) -> None:
    site.cancel()
    assert site.idle() == [(job_id(1), 1)]
    pump = site.dispatch(attempt=2)
    site.cancel(attempt=1)
    assert not pump.closed.is_set()
    assert site.idle() == [(job_id(1), 1)] * 2
    pump = site.dispatch()
    pump.post(ENDED)
    site.cancel()
    assert site.idle() == [(job_id(1), 1)] * 3
    assert site.watched() == []


async def test_an_attempt_that_we_broke_off_is_watched_after_the_machine_has_heard_of_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[int] = []
    monkeypatch.setattr(site.pumps.watch, "expect", lambda _: heard.append(len(site.told)))
    site.dispatch().post(broken(computing=True))
    assert heard == [1]
    # A cancel that crosses it is no second reason to tell anything.
    site.cancel()
    assert (heard, site.idle()) == ([1], [])


async def test_an_attempt_whose_worker_died_is_not_watched(site: Site) -> None:
    site.dispatch().post(broken(computing=False))
    assert (site.watched(), site.idle()) == ([], [])


async def test_only_attempts_that_go_on_hold_slots_against_a_cut_one(site: Site) -> None:
    held = site.pumps._held
    pump, other = site.dispatch(1), site.dispatch(2)
    worker = site.pumps._book.find(POOL, WORKER)
    assert worker is not None
    assert held(worker) == 0
    pump.post(ACCEPTED)
    other.post(ACCEPTED)
    assert held(worker) == 6
    pump.post(ENDED)
    assert held(worker) == 3
    site.cancel(2)
    assert held(worker) == 0


async def test_a_new_attempt_takes_the_place_of_the_old_one(site: Site) -> None:
    old = site.dispatch()
    new = site.dispatch(attempt=2)
    assert old.closed.is_set()
    assert not new.closed.is_set()
    # The old one's task comes to its end and takes nothing away.
    for _ in range(3):
        await asyncio.sleep(0)
    assert len(site.pumps) == 1


async def test_all_are_checked_in_each_sweep_and_tell_their_progress_in_turns(site: Site) -> None:
    pumps = [site.dispatch(number) for number in range(1, 501)]
    turns: list[int] = []
    for _ in range(6):
        before = sum(pump.told for pump in pumps)
        site.pumps.sweep()
        turns.append(sum(pump.told for pump in pumps) - before)
    assert turns == [200, 200, 100, 200, 200, 100]
    assert {(pump.checked, pump.told) for pump in pumps} == {(6, 2)}


async def test_what_a_beat_says_anew_of_a_worker_makes_no_other_process_of_it(site: Site) -> None:
    pump = site.dispatch()
    pump.post(ACCEPTED)
    renamed = worker_report(WORKER, port=1).model_copy(update={"name": "another"})
    site.pumps._book.replace(POOL, [renamed])
    worker = site.pumps._book.find(POOL, WORKER)
    assert worker is not None
    assert site.pumps._held(worker) == 3
    site.pumps._book.replace(POOL, [worker_report(WORKER, port=2)])
    worker = site.pumps._book.find(POOL, WORKER)
    assert worker is not None
    assert site.pumps._held(worker) == 0


async def test_what_was_said_while_we_slept_is_heard_before_silence_is_judged(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    pump = site.dispatch()
    site.pumps.sweep()
    loop = asyncio.get_running_loop()
    awake_at = loop.time() + 60
    with monkeypatch.context() as clock:
        clock.setattr(loop, "time", lambda: awake_at)
        site.pumps.sweep()
        site.pumps.sweep()
    assert (pump.heard_anew, pump.checked) == (1, 3)
