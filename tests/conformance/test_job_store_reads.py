"""What every adapter of the job store shows: pages, restarts, retention, keys."""

from dataclasses import replace

import pytest

from orchestrator_core.contracts.tasks import EventKind, JobStatus, Priority
from orchestrator_core.errors import DataError
from orchestratord.store.port import JobStore
from orchestratord.store.rows import JobFilter, KeyRow
from orchestratord.store.writes import (
    AppendEvents,
    FinishJob,
    Purge,
    PutKey,
    RecordUsage,
    RequestCancel,
    RevokeKey,
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

# Pages


async def shown(store: JobStore, wanted: JobFilter) -> list[str]:
    return [job.id for job in (await store.list_jobs(wanted)).items]


async def test_pages_go_from_the_newest_to_the_oldest(store: JobStore) -> None:
    await apply(store, *[admission(number) for number in range(1, 6)])
    first = await store.list_jobs(JobFilter(limit=2))
    assert [job.id for job in first.items] == [job_id(5), job_id(4)]
    await apply(store, admission(6))
    second = await store.list_jobs(JobFilter(limit=2, cursor=first.next_cursor))
    assert [job.id for job in second.items] == [job_id(3), job_id(2)]
    last = await store.list_jobs(JobFilter(limit=2, cursor=second.next_cursor))
    assert ([job.id for job in last.items], last.next_cursor) == ([job_id(1)], None)


async def test_a_cursor_outlives_the_job_it_names(store: JobStore) -> None:
    await apply(store, *[admission(number) for number in range(1, 5)])
    page = await store.list_jobs(JobFilter(limit=2))
    await apply(store, finish(3, at_ms=10), Purge(before_ms=11, limit=10))
    assert await shown(store, JobFilter(cursor=page.next_cursor)) == [job_id(2), job_id(1)]


async def test_the_last_full_page_says_that_none_follows(store: JobStore) -> None:
    await apply(store, admission(1), admission(2))
    assert (await store.list_jobs(JobFilter(limit=2))).next_cursor is None


async def test_pages_are_filtered(store: JobStore) -> None:
    batch = admission(new_job(2, priority=Priority.BATCH))
    story = admission(new_job(3, model="tiny-story"))
    foreign = admission(new_job(4, key_id=OTHER_KEY))
    await apply(store, admission(1), batch, story, foreign, dispatched(1), finish(3))
    assert await shown(store, JobFilter(status=JobStatus.DISPATCHED)) == [job_id(1)]
    assert await shown(store, JobFilter(status=JobStatus.QUEUED)) == [job_id(4), job_id(2)]
    assert await shown(store, JobFilter(status=JobStatus.COMPLETED)) == [job_id(3)]
    assert await shown(store, JobFilter(priority=Priority.BATCH)) == [job_id(2)]
    assert await shown(store, JobFilter(model="tiny-story")) == [job_id(3)]
    assert await shown(store, JobFilter(key_id=OTHER_KEY)) == [job_id(4)]
    queued_here = JobFilter(status=JobStatus.QUEUED, key_id=KEY, model="tiny-chat")
    assert await shown(store, queued_here) == [job_id(2)]
    assert await shown(store, JobFilter(status=JobStatus.EXPIRED)) == []


async def test_a_page_carries_no_long_texts(store: JobStore) -> None:
    await apply(store, admission(1), dispatched(1), finish(1, attempt=1, retain_request=True))
    [item] = (await store.list_jobs(JobFilter())).items
    whole = await store.job(job_id(1))
    assert whole is not None
    assert whole.output is not None
    assert item == replace(whole, output=None, request_json=None)


async def test_jobs_are_counted_by_status(store: JobStore) -> None:
    await apply(store, admission(1), admission(2), admission(3), dispatched(1), finish(2))
    counts = await store.counts()
    assert {status: count for status, count in counts.items() if count} == {
        JobStatus.QUEUED: 1,
        JobStatus.DISPATCHED: 1,
        JobStatus.COMPLETED: 1,
    }
    assert set(counts) == set(JobStatus)


# Restart


async def test_unfinished_jobs_come_back_by_class_and_time(reopen: Reopen) -> None:
    store = await reopen()
    await apply(
        store,
        admission(new_job(1, priority=Priority.BATCH, created_at_ms=1)),
        admission(new_job(2, created_at_ms=30)),
        admission(new_job(3, created_at_ms=20)),
        admission(new_job(4, priority=Priority.BATCH, created_at_ms=2)),
        admission(new_job(5, created_at_ms=20)),
        admission(6),
        finish(6),
    )
    restored = await (await reopen()).restore()
    assert [stored.job.id for stored in restored] == [job_id(n) for n in (3, 5, 2, 1, 4)]


async def test_a_restart_knows_what_readers_were_shown(reopen: Reopen) -> None:
    store = await reopen()
    attempt = AppendEvents(
        (event(3, 4, EventKind.ATTEMPT, '{"attempt":2,"reason":"WORKER_LOST","keep_tokens":2}'),)
    )
    await apply(store, admission(1), RequestCancel(job_id=job_id(1), at_ms=5))
    await apply(store, admission(2), dispatched(2), running(2), token(2, 3, 0, 4))
    await apply(store, token(2, 4, 4, 3))
    await apply(store, admission(3), dispatched(3), running(3), token(3, 3, 0, 4), attempt)
    one, two, three = await (await reopen()).restore()
    assert (one.job.attempt, one.last_seq, one.tokens_committed) == (0, 1, 0)
    assert (one.cancel_requested, two.cancel_requested) == (True, False)
    assert (two.job.attempt, two.last_seq, two.tokens_committed) == (1, 4, 7)
    assert (two.job.status, two.job.worker_id) == (JobStatus.RUNNING, "wrk_a")
    assert two.job.request_json == new_job(2).request_json
    assert (three.last_seq, three.tokens_committed) == (4, 2)


# Retention, usage, keys


async def test_purge_deletes_old_finished_jobs_and_leaves_their_usage(store: JobStore) -> None:
    for number, at_ms in ((1, 300), (2, 100), (3, 200), (4, 900)):
        await apply(store, admission(number), finish(number, at_ms=at_ms))
    await apply(store, admission(5))
    assert await apply(store, Purge(before_ms=500, limit=2)) == [2]
    assert await shown(store, JobFilter()) == [job_id(5), job_id(4), job_id(1)]
    assert await apply(store, Purge(before_ms=500, limit=2)) == [1]
    assert await apply(store, Purge(before_ms=500, limit=2)) == [0]
    assert await store.events_after(job_id(2), 0, 10) == []
    assert await store.attempts(job_id(2)) == []
    assert await store.usage(job_id(2)) == usage(2)
    assert await shown(store, JobFilter()) == [job_id(5), job_id(4)]


async def test_usage_is_recorded_once(store: JobStore) -> None:
    row = replace(usage(1), durable=False, workers=("wrk_a", "wrk_b"), attempts=2)
    assert await apply(store, RecordUsage(row)) == [1]
    with pytest.raises(DataError):
        await store.submit(RecordUsage(row))
    assert await store.usage(job_id(1)) == row


async def test_keys_are_put_replaced_and_revoked(store: JobStore) -> None:
    key = KeyRow(id=KEY, name="admin", hash="h1", scopes=("admin", "infer"), created_at_ms=1)
    other = KeyRow(id=OTHER_KEY, name="app", hash="h2", scopes=(), created_at_ms=2, expires_at_ms=9)
    await apply(store, PutKey(other), PutKey(key), PutKey(replace(key, hash="h3")))
    assert await store.keys() == [replace(key, hash="h3"), other]
    assert await apply(store, RevokeKey(key_id=KEY, at_ms=5)) == [1]
    assert await apply(store, RevokeKey(key_id=KEY, at_ms=6)) == [0]
    assert [row.revoked_at_ms for row in await store.keys()] == [5, None]


async def test_two_keys_never_share_a_hash(store: JobStore) -> None:
    key = KeyRow(id=KEY, name="admin", hash="h1", scopes=(), created_at_ms=1)
    await apply(store, PutKey(key))
    with pytest.raises(DataError):
        await store.submit(PutKey(replace(key, id=OTHER_KEY)))
    assert await store.keys() == [key]


async def test_a_failed_ending_records_no_usage(store: JobStore) -> None:
    await apply(store, admission(1), RecordUsage(usage(1)))
    ending: FinishJob = finish(1)
    with pytest.raises(DataError):
        await store.submit(ending)
    job = await store.job(job_id(1))
    assert job is not None
    assert job.status is JobStatus.QUEUED
    assert await store.last_seq(job_id(1)) == 1
