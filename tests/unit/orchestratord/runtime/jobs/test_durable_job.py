"""A stored job turns text and transitions into rows; readers see them only after their COMMIT."""

import asyncio
from collections.abc import Callable

import pytest

from orchestrator_core.contracts.tasks import (
    EventKind,
    JobStatus,
    Timings,
    Usage,
)
from orchestrator_core.errors import Code
from orchestrator_core.scheduler.commands import (
    Finish,
    PersistRunning,
)
from orchestratord.runtime.flusher import Flusher
from orchestratord.store.writes import FinishJob, MarkRunning
from support.job_desk import (
    ID,
    POOL,
    WORKER,
    Desk,
    open_desk,
    settle,
)


@pytest.fixture
async def desk() -> Desk:
    return await open_desk()


async def test_the_rows_of_a_whole_life_stand_in_their_order(desk: Desk) -> None:
    desk.run()
    desk.say("Hel")
    desk.say("lo")
    desk.finish(
        tokens_out=2,
        stop_reason="stop",
        usage=Usage(prompt_tokens=5, completion_tokens=2, total_tokens=7),
        timings=Timings(prompt_ms=1, predicted_ms=2),
    )
    await settle()
    assert await desk.rows() == [
        (1, "queued", {}),
        (
            2,
            "started",
            {
                "attempt": 1,
                "pool_id": "home",
                "worker_id": WORKER,
                "worker_name": "worker-cpu-0",
            },
        ),
        (3, "token", {"t": "Hel", "i": 0, "n": 1}),
        (4, "token", {"t": "lo", "i": 1, "n": 1}),
        (
            5,
            "end",
            {
                "tokens_out": 2,
                "stop_reason": "stop",
                "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
                "timings": {"prompt_ms": 1.0, "predicted_ms": 2.0},
            },
        ),
    ]
    row = await desk.store.job(ID)
    assert row is not None
    assert (row.output, row.status, row.tokens_out) == ("Hello", JobStatus.COMPLETED, 2)
    usage = await desk.store.usage(ID)
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.workers) == (5, 2, (WORKER,))
    assert desk.forgotten == [ID]
    assert desk.failures == []


async def test_the_first_token_is_written_at_once_and_later_ones_in_groups(desk: Desk) -> None:
    desk.run()
    before = len(desk.store.writes)
    desk.say("a")
    assert len(desk.store.writes) == before + 1
    desk.say("b")
    desk.say("c", "d")
    assert (len(desk.store.writes), desk.flusher.wanted) == (before + 1, 2)
    desk.flusher.flush()
    await settle()
    assert (await desk.rows())[-1] == (4, "token", {"t": "bcd", "i": 1, "n": 3})


@pytest.mark.parametrize("letter", ["x", "ü", "語"])
async def test_four_kibibytes_do_not_wait_for_the_flusher(desk: Desk, letter: str) -> None:
    desk.run()
    desk.say("first")
    before = len(desk.store.writes)
    size = len(letter.encode())
    desk.say(letter * (4095 // size))
    assert len(desk.store.writes) == before
    desk.say(letter * 3)
    assert len(desk.store.writes) == before + 1


async def test_pieces_without_text_write_nothing(desk: Desk) -> None:
    desk.run()
    before = len(desk.store.writes)
    desk.say("", "")
    desk.job.flush()
    desk.flusher.flush()
    assert len(desk.store.writes) == before


async def test_readers_are_shown_an_event_only_after_its_commit(desk: Desk) -> None:
    desk.run()
    desk.say("a")
    assert len(desk.job.log.after(0) or ()) == 1
    assert len(await desk.shown()) == 3
    assert b'"t":"a"' in (await desk.shown())[2]


async def test_a_new_attempt_drops_what_was_not_shown_and_starts_over(desk: Desk) -> None:
    desk.run()
    desk.say("shown")
    desk.say("never")
    desk.requeue(tokens=2)
    desk.run(attempt=2)
    desk.say("whole")
    desk.job.on_finish(Finish(job_id=ID, attempt=2, status=JobStatus.COMPLETED, tokens_out=1))
    await settle()
    rows = await desk.rows()
    assert [kind for _, kind, _ in rows] == [
        "queued", "started", "token", "attempt", "started", "token", "end",
    ]  # fmt: skip
    assert rows[3][2] == {"attempt": 2, "reason": "WORKER_LOST", "keep_tokens": 0}
    assert rows[5][2] == {"t": "whole", "i": 0, "n": 1}
    row = await desk.store.job(ID)
    assert row is not None
    assert row.output == "whole"
    assert not any(b"never" in frame for frame in await desk.shown())
    attempts = await desk.store.attempts(ID)
    assert [(found.status, found.tokens) for found in attempts] == [("broken", 2), ("ended", 1)]


async def test_readers_hear_of_no_attempt_before_one_has_started(desk: Desk) -> None:
    desk.dispatch()
    desk.requeue()
    desk.run(attempt=2)
    await settle()
    assert [kind for _, kind, _ in await desk.rows()] == ["queued", "started"]


async def test_the_last_text_and_the_end_are_one_write(desk: Desk) -> None:
    desk.run()
    desk.say("a")
    desk.say("b")
    desk.finish(JobStatus.CANCELLED, code=Code.CANCELLED, message="enough")
    last = desk.store.writes[-1]
    assert isinstance(last, FinishJob)
    assert [row.kind for row in last.final_events] == [EventKind.TOKEN, EventKind.ERROR]
    assert (last.output, last.tokens_out) == ("ab", 2)
    assert last.usage is not None
    assert last.usage.completion_tokens == 2
    # Nothing comes after the end, whoever still has a timer running.
    desk.job.flush()
    desk.flusher.flush()
    assert desk.store.writes[-1] is last
    await settle()
    told = (await desk.rows())[-1][2]
    assert told == {"code": "CANCELLED", "message": "enough", "retriable": False}


async def test_an_end_without_words_still_has_a_code_and_a_message(desk: Desk) -> None:
    desk.run()
    desk.finish(JobStatus.FAILED)
    await settle()
    told = (await desk.rows())[-1][2]
    assert told["code"] == "INTERNAL"
    assert told["message"]


async def test_a_job_stays_in_reach_until_its_last_commit(desk: Desk) -> None:
    desk.run()
    desk.finish(tokens_out=0)
    assert desk.forgotten == []
    await settle()
    assert desk.forgotten == [ID]
    assert desk.job.log.ended


async def test_a_row_that_disagrees_is_reported_and_shown_to_nobody(desk: Desk) -> None:
    desk.run()
    await settle()
    shown = await desk.shown()
    desk.job.on_running(PersistRunning(job_id=ID, attempt=9, pool_id=POOL, worker_id=WORKER))
    await settle()
    (failure,) = desk.failures
    assert failure.code is Code.CONFLICT
    assert await desk.shown() == shown
    assert isinstance(desk.store.writes[-1], MarkRunning)


async def test_the_flusher_writes_for_all_with_one_timer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    timers: list[Callable[[], None]] = []
    loop = asyncio.get_running_loop()

    def call_later(delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle:
        assert delay_s == 0.05
        timers.append(callback)
        return asyncio.TimerHandle(0, callback, (), loop)

    monkeypatch.setattr(loop, "call_later", call_later)
    flusher, flushed = Flusher(), list[str]()

    class Writer:
        def __init__(self, name: str) -> None:
            self.name = name

        def flush(self) -> None:
            flushed.append(self.name)

    first, second = Writer("first"), Writer("second")
    for who in (first, second, first):
        flusher.want(who)
    assert len(timers) == 1
    timers[0]()
    assert sorted(flushed) == ["first", "second"]
    flusher.flush()
    assert len(flushed) == 2
    flusher.want(first)
    assert len(timers) == 2
