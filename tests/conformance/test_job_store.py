"""What every adapter of the job store does with writes: groups, moves, events."""

import asyncio
from dataclasses import replace

import pytest

from orchestrator_core.contracts.tasks import EventKind, JobStatus
from orchestrator_core.errors import CapacityError, Code, DataError, HostError
from orchestrator_core.ids import JobId
from orchestratord.store.port import JobStore, Outcome, StaleWriteError
from orchestratord.store.rows import EventRow
from orchestratord.store.writes import (
    AppendEvents,
    MarkRequeued,
    MarkRunning,
    RequestCancel,
    Write,
)
from support.job_stores import Reopen
from support.stored_jobs import (
    KEY,
    OTHER_KEY,
    admission,
    apply,
    dispatched,
    event,
    finish,
    job_id,
    new_job,
    running,
    token,
    usage,
)


async def outcome_of(store: JobStore, write: Write) -> Outcome:
    """Post a write and wait for what its callback is told."""
    told: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    store.post(write, told.set_result)
    return await told


async def seqs(store: JobStore, job: JobId) -> list[int]:
    return [row.seq for row in await store.events_after(job, 0, 100)]


# Admission


async def test_an_admitted_job_reads_back_with_every_field(store: JobStore) -> None:
    new = new_job(1)
    assert await apply(store, admission(new)) == [1]
    job = await store.job(new.id)
    assert job is not None
    for name in new.__slots__:
        assert getattr(job, name) == getattr(new, name), name
    assert (job.status, job.attempt, job.ended_at_ms) == (JobStatus.QUEUED, 0, None)
    assert await store.events_after(new.id, 0, 10) == [
        EventRow(new.id, 1, EventKind.QUEUED, '{"queue_position": 1}')
    ]


async def test_a_job_is_shown_to_its_owner_only(store: JobStore) -> None:
    await apply(store, admission(1))
    assert await store.job(job_id(1), KEY) is not None
    assert await store.job(job_id(1), OTHER_KEY) is None
    assert await store.job(job_id(2)) is None


async def test_acknowledged_jobs_are_there_after_reopening(reopen: Reopen) -> None:
    await apply(await reopen(), admission(1), dispatched(1))
    store = await reopen()
    job = await store.job(job_id(1))
    assert job is not None
    assert job.status is JobStatus.DISPATCHED


async def test_the_queued_event_must_be_event_1_of_its_job() -> None:
    with pytest.raises(ValueError, match="its own event 1"):
        replace(admission(1), queued_event=event(2, 1, EventKind.QUEUED))


# Groups and order


async def test_one_bad_write_in_a_group_fails_alone(store: JobStore) -> None:
    writes = [admission(1), admission(2), admission(1), dispatched(9), admission(3)]
    futures = [store.submit(write) for write in writes]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert results[:2] == [1, 1]
    assert isinstance(results[2], DataError)
    assert results[2].code is Code.CONFLICT
    assert isinstance(results[3], StaleWriteError)
    assert results[4] == 1
    assert (await store.counts())[JobStatus.QUEUED] == 3


async def test_a_write_that_fails_halfway_leaves_nothing_behind(store: JobStore) -> None:
    await apply(store, admission(1), admission(2))
    two_jobs = (event(1, 2, EventKind.TOKEN), event(2, 5, EventKind.TOKEN))
    with pytest.raises(StaleWriteError):
        await store.submit(AppendEvents(two_jobs))
    assert await store.last_seq(job_id(1)) == 1


async def test_writes_are_applied_and_told_in_the_order_of_submission(store: JobStore) -> None:
    told: list[str] = []
    store.submit(admission(1)).add_done_callback(lambda _: told.append("admitted"))
    store.post(dispatched(1), lambda _: told.append("dispatched"))
    store.submit(running(1)).add_done_callback(lambda _: told.append("running"))
    store.post(token(1, 3), lambda _: told.append("token"))
    await store.submit(finish(1, attempt=1, seq=4))
    assert told == ["admitted", "dispatched", "running", "token"]


async def test_a_callback_that_raises_takes_no_other_with_it(store: JobStore) -> None:
    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))

    def spoil(_: Outcome) -> None:
        raise LookupError("a fault in a callback")

    store.post(admission(1), spoil)
    assert await outcome_of(store, admission(2)) == 1
    assert [type(error) for error in reported] == [LookupError]


async def test_a_posted_failure_reaches_its_callback(store: JobStore) -> None:
    assert isinstance(await outcome_of(store, dispatched(1)), StaleWriteError)


async def test_a_posted_failure_without_callback_is_reported_by_the_loop(store: JobStore) -> None:
    reported: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    store.post(dispatched(1))
    await apply(store, admission(1))
    assert [type(error) for error in reported] == [StaleWriteError]


async def test_a_waiter_that_gave_up_harms_nobody(store: JobStore) -> None:
    store.submit(admission(1)).cancel()
    assert await apply(store, admission(2)) == [1]
    assert (await store.counts())[JobStatus.QUEUED] == 2


async def test_refuses_writes_when_too_many_wait(reopen: Reopen) -> None:
    store = await reopen(queue_limit=2)
    futures = [store.submit(admission(1)), store.submit(admission(2))]
    with pytest.raises(CapacityError) as refused:
        store.submit(admission(3))
    assert refused.value.code is Code.QUEUE_FULL
    assert await asyncio.gather(*futures) == [1, 1]
    assert await apply(store, admission(3)) == [1]


async def test_work_in_progress_is_recorded_while_new_work_is_refused(reopen: Reopen) -> None:
    store = await reopen(queue_limit=2)
    futures = [store.submit(admission(1)), store.submit(admission(2))]
    committed: list[Outcome] = []
    store.post(dispatched(1), committed.append)
    with pytest.raises(CapacityError):
        store.submit(admission(3))
    await asyncio.gather(*futures)
    assert await apply(store, admission(4)) == [1]
    assert committed == [1]


async def test_close_applies_all_that_waits_and_refuses_more(reopen: Reopen) -> None:
    store = await reopen()
    futures = [store.submit(admission(number)) for number in range(1, 601)]
    await store.close()
    assert await asyncio.gather(*futures) == [1] * 600
    with pytest.raises(HostError, match="closed"):
        store.submit(admission(700))
    assert len(await (await reopen()).restore()) == 600


# The life of a job


async def test_a_job_runs_from_its_queue_to_its_end(store: JobStore) -> None:
    writes = (admission(1), dispatched(1), running(1), token(1, 3), finish(1, attempt=1, seq=4))
    assert await apply(store, *writes) == [1] * 5
    job = await store.job(job_id(1))
    assert job is not None
    assert (job.status, job.attempt, job.started_at_ms) == (JobStatus.COMPLETED, 1, 3001)
    assert (job.pool_id, job.worker_id, job.worker_name) == ("home", "wrk_a", "first")
    assert (job.output, job.tokens_out, job.stop_reason) == ("Hello!", 5, "stop")
    assert (job.usage_json, job.timings_json) == ('{"prompt_tokens": 3}', "{}")
    [attempt] = await store.attempts(job_id(1))
    assert (attempt.status, attempt.tokens, attempt.ended_at_ms) == ("ended", 5, 5000)
    assert await seqs(store, job_id(1)) == [1, 2, 3, 4]
    assert await store.usage(job_id(1)) == usage(1)


async def test_a_broken_attempt_puts_the_job_back_and_the_next_one_runs(store: JobStore) -> None:
    requeued = MarkRequeued(
        job_id=job_id(1),
        attempt=1,
        reason=Code.WORKER_LOST,
        message="the worker is gone",
        tokens=4,
        at_ms=4000,
        events=(event(1, 3, EventKind.ATTEMPT, '{"attempt": 2, "keep_tokens": 4}'),),
    )
    await apply(store, admission(1), dispatched(1), running(1), requeued)
    job = await store.job(job_id(1))
    assert job is not None
    assert (job.status, job.attempt) == (JobStatus.QUEUED, 1)
    await apply(store, dispatched(1, 2, "wrk_b"), running(1, 2, seq=4), finish(1, attempt=2, seq=5))
    first, second = await store.attempts(job_id(1))
    assert (first.status, first.reason, first.message, first.tokens) == (
        "broken",
        Code.WORKER_LOST,
        "the worker is gone",
        4,
    )
    assert (second.status, second.worker_id) == ("ended", "wrk_b")
    job = await store.job(job_id(1))
    assert job is not None
    assert (job.worker_id, job.started_at_ms) == ("wrk_b", 3001)


async def test_a_job_can_end_before_any_attempt(store: JobStore) -> None:
    await apply(store, admission(1), finish(1, status=JobStatus.CANCELLED))
    job = await store.job(job_id(1))
    assert job is not None
    assert (job.status, await store.attempts(job_id(1))) == (JobStatus.CANCELLED, [])


@pytest.mark.parametrize(
    ("status", "attempt_status"),
    [
        (JobStatus.FAILED, "broken"),
        (JobStatus.CANCELLED, "cancelled"),
        (JobStatus.EXPIRED, "cancelled"),
    ],
)
async def test_a_job_that_did_not_complete_keeps_its_request(
    store: JobStore, status: JobStatus, attempt_status: str
) -> None:
    await apply(store, admission(1), dispatched(1), finish(1, attempt=1, status=status))
    job = await store.job(job_id(1))
    assert job is not None
    assert job.request_json == new_job(1).request_json
    assert [a.status for a in await store.attempts(job_id(1))] == [attempt_status]


@pytest.mark.parametrize(("retain", "kept"), [(False, None), (True, '{"prompt":"Hello"}')])
async def test_a_completed_job_loses_its_request_unless_told_otherwise(
    store: JobStore, retain: bool, kept: str | None
) -> None:
    await apply(store, admission(1), finish(1, retain_request=retain))
    job = await store.job(job_id(1))
    assert job is not None
    assert (job.request_json, job.request_hash) == (kept, "hash")


# Compare-and-set


@pytest.mark.parametrize(
    "late",
    [
        finish(1, attempt=1, seq=4),
        finish(1, attempt=1, seq=4, status=JobStatus.FAILED),
        dispatched(1, 2),
        running(1, seq=4),
        token(1, 4),
        MarkRunning(job_id=job_id(1), attempt=1, at_ms=1),
        MarkRequeued(
            job_id=job_id(1), attempt=1, reason=Code.TIMEOUT, message="", tokens=0, at_ms=1
        ),
    ],
    ids=lambda write: type(write).__name__,
)
async def test_nothing_moves_a_job_that_has_ended(store: JobStore, late: Write) -> None:
    await apply(store, admission(1), dispatched(1), running(1), finish(1, attempt=1, seq=3))
    before = (await store.job(job_id(1)), await store.attempts(job_id(1)))
    with pytest.raises(StaleWriteError) as refused:
        await store.submit(late)
    assert isinstance(refused.value, DataError)
    assert (await store.job(job_id(1)), await store.attempts(job_id(1))) == before
    assert await seqs(store, job_id(1)) == [1, 2, 3]


@pytest.mark.parametrize(
    "write",
    [
        dispatched(1, 1),
        dispatched(1, 3),
        running(1, 2),
        finish(1, attempt=0),
        finish(1, attempt=2),
        finish(2),
        MarkRequeued(
            job_id=job_id(1), attempt=2, reason=Code.TIMEOUT, message="", tokens=0, at_ms=1
        ),
    ],
    ids=lambda write: f"{type(write).__name__}-{write.attempt}",
)
async def test_a_write_of_another_attempt_is_stale(store: JobStore, write: Write) -> None:
    await apply(store, admission(1), dispatched(1))
    with pytest.raises(StaleWriteError):
        await store.submit(write)
    job = await store.job(job_id(1))
    assert job is not None
    assert (job.status, job.attempt) == (JobStatus.DISPATCHED, 1)
    assert await store.usage(job_id(1)) is None


async def test_of_two_endings_in_one_group_the_first_wins(store: JobStore) -> None:
    await apply(store, admission(1))
    endings = [finish(1), finish(1, seq=3, status=JobStatus.FAILED)]
    futures = [store.submit(ending) for ending in endings]
    won, lost = await asyncio.gather(*futures, return_exceptions=True)
    assert won == 1
    assert isinstance(lost, StaleWriteError)
    assert (await store.counts())[JobStatus.COMPLETED] == 1


async def test_a_terminal_state_and_its_event_are_written_together_only() -> None:
    with pytest.raises(ValueError, match="written by FinishJob"):
        AppendEvents((event(1, 2, EventKind.END),))
    with pytest.raises(ValueError, match="ends with its terminal event"):
        replace(finish(1), final_events=())
    with pytest.raises(ValueError, match="not a terminal status"):
        replace(finish(1), status=JobStatus.RUNNING)


async def test_asking_for_a_cancel_twice_changes_nothing(store: JobStore) -> None:
    await apply(store, admission(1), admission(2), finish(2))
    assert await apply(store, RequestCancel(job_id=job_id(1), at_ms=70)) == [1]
    assert await apply(store, RequestCancel(job_id=job_id(1), at_ms=71)) == [0]
    assert await apply(store, RequestCancel(job_id=job_id(2), at_ms=72)) == [0]
    assert await apply(store, RequestCancel(job_id=job_id(3), at_ms=73)) == [0]
    job = await store.job(job_id(1))
    assert job is not None
    assert (job.cancel_requested_at_ms, job.status) == (70, JobStatus.QUEUED)


# Events


@pytest.mark.parametrize("seq", [1, 2, 4])
async def test_events_have_neither_holes_nor_doubles(store: JobStore, seq: int) -> None:
    await apply(store, admission(1), token(1, 2))
    with pytest.raises(StaleWriteError):
        await store.submit(token(1, seq))
    assert await seqs(store, job_id(1)) == [1, 2]


async def test_events_replay_byte_for_byte_from_any_number(store: JobStore) -> None:
    texts = ['{"t": "é\\u0000 \\n", "i": 0, "n": 1}', '{"t":"語","i":1,"n":1}', '{ "t" : "" }']
    rows = [event(1, seq, EventKind.TOKEN, text) for seq, text in enumerate(texts, start=2)]
    await apply(store, admission(1), AppendEvents(tuple(rows)))
    assert await store.events_after(job_id(1), 1, 10) == rows
    assert await store.events_after(job_id(1), 2, 1) == rows[1:2]
    assert await store.events_after(job_id(1), 4, 10) == []
    assert await store.last_seq(job_id(1)) == 4
    assert await store.last_seq(job_id(2)) == 0
