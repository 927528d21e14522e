"""What is kept of a call without a row: its course, for a while, and never too many."""

import pytest

from orchestrator_core.contracts.tasks import JobStatus, Usage
from orchestrator_core.errors import Code
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.scheduler.commands import (
    Finish,
    PersistDispatched,
    PersistRequeued,
    PersistRunning,
)
from orchestrator_core.testing.clocks import FakeClock
from orchestrator_core.testing.facts import job_id, key_id
from orchestratord.runtime.jobs import call_record
from orchestratord.runtime.jobs.call_record import CallRecord, RecentCalls

POOL, WORKER = PoolId("home"), WorkerId("wrk_1")


def record(number: int, clock: FakeClock) -> CallRecord:
    return CallRecord(
        id=job_id(number),
        key_id=key_id(),
        model="tiny-chat",
        clock=clock,
        created_at_ms=clock.unix_ms(),
    )


def finish(number: int, status: JobStatus = JobStatus.COMPLETED, **more: object) -> Finish:
    return Finish(job_id=job_id(number), attempt=1, status=status, **more)  # type: ignore[arg-type]


def dispatched(call: CallRecord, attempt: int = 1) -> None:
    call.dispatched(
        PersistDispatched(job_id=call.id, attempt=attempt, pool_id=POOL, worker_id=WORKER)
    )
    call.running(PersistRunning(job_id=call.id, attempt=attempt, pool_id=POOL, worker_id=WORKER))


@pytest.mark.parametrize(
    ("status", "attempt"),
    [
        (JobStatus.COMPLETED, "ended"),
        (JobStatus.FAILED, "broken"),
        (JobStatus.CANCELLED, "cancelled"),
        (JobStatus.EXPIRED, "cancelled"),
    ],
)
def test_the_course_of_a_call_is_told_without_its_text(status: JobStatus, attempt: str) -> None:
    clock = FakeClock()
    call = record(1, clock)
    dispatched(call)
    call.tokens = 3
    call.requeued(
        PersistRequeued(
            job_id=call.id,
            attempt=1,
            reason=Code.WORKER_LOST,
            message="",
            tokens=3,
            keep_tokens=0,
        )
    )
    assert (call.status, call.tokens) == (JobStatus.QUEUED, 0)
    dispatched(call, 2)
    call.tokens = 2
    command = finish(1, status, usage=Usage(prompt_tokens=4, completion_tokens=2))
    call.finished(command)
    view = call.view()
    assert (view.status, view.tokens_out, view.attempt, view.output) == (status, 2, 2, None)
    assert view.attempts is not None
    assert [found.status for found in view.attempts] == ["broken", attempt]
    assert [found.tokens for found in view.attempts] == [3, 2]
    usage = call.usage(command)
    assert (usage.durable, usage.prompt_tokens, usage.completion_tokens) == (False, 4, 2)
    assert (usage.attempts, usage.workers, usage.status) == (2, (WORKER, WORKER), status)


def test_a_call_that_was_cut_short_counts_what_came() -> None:
    call = record(1, FakeClock())
    dispatched(call)
    call.tokens = 7
    command = finish(1, JobStatus.CANCELLED, code=Code.CANCELLED)
    call.finished(command)
    assert call.usage(command).completion_tokens == 7


def test_ended_calls_are_forgotten_after_their_time_and_live_ones_never() -> None:
    clock = FakeClock()
    calls = RecentCalls(clock)
    live, ended = record(1, clock), record(2, clock)
    calls.add(live)
    calls.add(ended)
    ended.finished(finish(2))
    clock.advance(599)
    calls.forget_old()
    assert calls.get(ended.id) is ended
    clock.advance(2)
    calls.forget_old()
    assert calls.get(ended.id) is None
    assert calls.get(live.id) is live
    assert list(calls.newest_first()) == [live]


def test_too_many_calls_push_out_the_oldest_that_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_record, "_KEEP_CALLS", 3)
    monkeypatch.setattr(call_record, "_SLACK_CALLS", 0)
    clock = FakeClock()
    calls = RecentCalls(clock)
    records = [record(number, clock) for number in range(1, 7)]
    for number, call in enumerate(records, 1):
        calls.add(call)
        if number > 1:
            call.finished(finish(number))
    kept = [call.id for call in calls.newest_first()]
    assert kept == [job_id(6), job_id(5), job_id(1)]


def test_calls_that_live_are_not_looked_through_for_every_call_that_comes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(call_record, "_KEEP_CALLS", 10)
    monkeypatch.setattr(call_record, "_SLACK_CALLS", 5)
    clock, looked = FakeClock(), 0
    calls = RecentCalls(clock)

    def look() -> None:
        nonlocal looked
        looked += 1
        real()

    real = calls._drop_oldest_ended
    monkeypatch.setattr(calls, "_drop_oldest_ended", look)
    for number in range(1, 42):
        calls.add(record(number, clock))
    assert len(list(calls.newest_first())) == 41
    assert looked <= 7
