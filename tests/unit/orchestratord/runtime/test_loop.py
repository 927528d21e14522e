"""The mailbox of the machine: order, inline draining, coalescing, the one timer, loud failure."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.scheduler.commands import CancelAttempt, Command
from orchestrator_core.scheduler.events import (
    AttemptProgress,
    CancelRequested,
    Event,
    PoolBeat,
    Tick,
)
from orchestrator_core.testing.clocks import FakeClock
from orchestrator_core.testing.facts import job_id, session_id
from orchestratord.runtime import loop as loop_module
from orchestratord.runtime.loop import Loop


@dataclass
class ScriptedMachine:
    """Notes every fact and answers with what the test wants."""

    alarms: list[float | None] = field(default_factory=list)
    handled: list[Event] = field(default_factory=list)
    answer: Callable[[Event], list[Command]] = lambda _: []

    @property
    def next_alarm_at(self) -> float | None:
        return self.alarms[-1] if self.alarms else None

    def handle(self, event: Event) -> list[Command]:
        self.handled.append(event)
        return self.answer(event)


@dataclass
class Bench:
    loop: Loop
    machine: ScriptedMachine
    clock: FakeClock
    performed: list[Command]
    failures: list[BaseException]
    perform: list[Callable[[Command], None]]


@pytest.fixture
def bench() -> Bench:
    machine, clock = ScriptedMachine(), FakeClock(monotonic_s=100.0)
    performed: list[Command] = []
    failures: list[BaseException] = []
    perform: list[Callable[[Command], None]] = [performed.append]

    def perform_last(command: Command) -> None:
        perform[-1](command)

    loop = Loop(
        machine,  # type: ignore[arg-type]
        clock=clock,
        perform=perform_last,
        on_failure=failures.append,
    )
    return Bench(loop, machine, clock, performed, failures, perform)


def cancel(number: int) -> CancelRequested:
    return CancelRequested(at=0.0, job_id=job_id(number))


def order(number: int) -> CancelAttempt:
    return CancelAttempt(
        job_id=job_id(number), attempt=1, pool_id=PoolId("home"), worker_id=WorkerId("wrk_1")
    )


def beat(number: int, at: float = 0.0, pool: str = "home") -> PoolBeat:
    return PoolBeat(
        at=at, pool_id=PoolId(pool), session_id=session_id(number), devices=(), workers=()
    )


def progress(number: int, tokens: int) -> AttemptProgress:
    return AttemptProgress(at=0.0, job_id=job_id(number), attempt=1, tokens=tokens)


def test_when_post_returns_all_commands_have_been_given_out_in_order(bench: Bench) -> None:
    bench.machine.answer = lambda _: [order(1), order(2), order(3)]
    bench.loop.post(cancel(1))
    assert bench.performed == [order(1), order(2), order(3)]


def test_a_fact_posted_by_a_performer_waits_for_the_commands_before_it(bench: Bench) -> None:
    def answer(event: Event) -> list[Command]:
        return [order(1), order(2)] if event == cancel(1) else [order(3)]

    def perform(command: Command) -> None:
        bench.performed.append(command)
        if command == order(1):
            bench.loop.post(cancel(2))

    bench.machine.answer = answer
    bench.perform.append(perform)
    bench.loop.post(cancel(1))
    assert bench.machine.handled == [cancel(1), cancel(2)]
    assert bench.performed == [order(1), order(2), order(3)]


def test_waiting_facts_of_one_key_become_one_and_the_newest_counts(bench: Bench) -> None:
    def flood(_: Command) -> None:
        for event in (beat(1, 1.0), progress(1, 1), cancel(7), progress(2, 5)):
            bench.loop.post(event)
        for event in (progress(1, 2), beat(1, 2.0), beat(1, 3.0, "other"), cancel(7)):
            bench.loop.post(event)

    bench.machine.answer = lambda event: [order(1)] if event == cancel(1) else []
    bench.perform.append(flood)
    bench.loop.post(cancel(1))
    assert bench.machine.handled == [
        cancel(1),
        beat(1, 2.0),
        progress(1, 2),
        cancel(7),
        progress(2, 5),
        beat(1, 3.0, "other"),
        cancel(7),
    ]


def test_a_beat_of_a_new_session_does_not_take_the_place_of_one_before_it(bench: Bench) -> None:
    def flood(_: Command) -> None:
        for event in (beat(1), cancel(2), beat(2)):
            bench.loop.post(event)

    bench.machine.answer = lambda event: [order(1)] if event == cancel(1) else []
    bench.perform.append(flood)
    bench.loop.post(cancel(1))
    assert bench.machine.handled == [cancel(1), beat(1), cancel(2), beat(2)]


def test_facts_that_do_not_wait_are_never_coalesced(bench: Bench) -> None:
    for tokens in (1, 2):
        bench.loop.post(progress(1, tokens))
    assert bench.machine.handled == [progress(1, 1), progress(1, 2)]


@pytest.mark.parametrize("breaks", ["machine", "performer"])
def test_what_breaks_stops_the_loop_once_and_loudly(bench: Bench, breaks: str) -> None:
    problem = ZeroDivisionError("no")

    def fail(*_: Any) -> Any:
        raise problem

    bench.machine.answer = fail if breaks == "machine" else lambda _: [order(1), order(2)]
    if breaks == "performer":
        bench.perform.append(fail)
    bench.loop.post(cancel(1))
    assert bench.failures == [problem]
    assert bench.loop.failure is problem
    bench.loop.post(cancel(2))
    assert len(bench.machine.handled) == 1
    assert len(bench.failures) == 1


def test_a_machine_that_talks_to_itself_for_ever_is_stopped(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "_MAILBOX_LIMIT", 100)
    bench.machine.answer = lambda _: [order(1), order(2)]
    bench.perform.append(lambda _: bench.loop.post(cancel(1)))
    bench.loop.post(cancel(1))
    (failure,) = bench.failures
    assert "mailbox is full" in str(failure)


def test_a_closed_loop_takes_no_facts_and_reports_no_failure(bench: Bench) -> None:
    bench.loop.close()
    bench.loop.post(cancel(1))
    assert bench.machine.handled == []
    assert bench.failures == []
    assert bench.loop.failure is not None


class Timers:
    """Stands in for the loop's call_later: timers ring when the test says so."""

    def __init__(self) -> None:
        self.armed: list[tuple[float, Callable[[], None], asyncio.TimerHandle]] = []

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        handle = asyncio.TimerHandle(loop.time() + delay_s, callback, (), loop)
        self.armed.append((delay_s, callback, handle))
        return handle

    @property
    def live(self) -> list[tuple[float, Callable[[], None]]]:
        return [(delay, ring) for delay, ring, handle in self.armed if not handle.cancelled()]


@pytest.fixture
async def timers(monkeypatch: pytest.MonkeyPatch) -> Timers:
    timers = Timers()
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", timers.call_later)
    return timers


async def test_one_timer_is_armed_for_the_next_alarm(bench: Bench, timers: Timers) -> None:
    bench.machine.alarms.append(107.0)
    bench.loop.post(cancel(1))
    assert [delay for delay, _ in timers.live] == [7.0]
    bench.loop.post(cancel(2))
    assert len(timers.armed) == 1
    bench.machine.alarms.append(103.0)
    bench.clock.advance(1)
    bench.loop.post(cancel(3))
    assert [delay for delay, _ in timers.live] == [2.0]
    bench.machine.alarms.append(None)
    bench.loop.post(cancel(4))
    assert timers.live == []


async def test_an_alarm_that_rings_is_told_as_a_tick(bench: Bench, timers: Timers) -> None:
    bench.machine.alarms.append(90.0)
    bench.loop.post(cancel(1))
    ((delay, ring),) = timers.live
    assert delay == 0.0
    timers.armed.clear()
    bench.clock.advance(5)
    ring()
    assert bench.machine.handled[-1] == Tick(at=105.0)
    # What is still due rings again.
    assert [delay for delay, _ in timers.live] == [0.0]


async def test_a_far_alarm_is_looked_at_in_between_because_timers_do_not_count_sleep(
    bench: Bench, timers: Timers
) -> None:
    bench.machine.alarms.append(100_000.0)
    bench.loop.post(cancel(1))
    ((delay, look),) = timers.live
    assert delay == 10.0
    handled = len(bench.machine.handled)
    timers.armed.clear()
    look()
    assert len(bench.machine.handled) == handled
    # The machine slept for a day: the timer has counted ten seconds, the clock of the facts all.
    ((_, look),) = timers.live
    bench.clock.advance(100_000)
    look()
    assert bench.machine.handled[-1] == Tick(at=100_100.0)


async def test_a_broken_or_closed_loop_rings_no_more(bench: Bench, timers: Timers) -> None:
    bench.machine.alarms.append(107.0)
    bench.loop.post(cancel(1))
    bench.loop.close()
    assert timers.live == []
