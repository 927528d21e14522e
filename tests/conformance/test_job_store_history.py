"""What every adapter of the job store keeps, sums up and lets go of with time."""

import asyncio
from dataclasses import replace

import pytest

from orchestrator_core.contracts.tasks import EventKind, JobStatus, Priority
from orchestrator_core.errors import Code, DataError
from orchestrator_core.ids import KeyId
from orchestratord.store.port import JobStore
from orchestratord.store.rows import JobFilter, KeyRow, NewJob, UsageTotal
from orchestratord.store.writes import (
    NoteKeyUse,
    Purge,
    PurgeUsage,
    PutKey,
    RecordUsage,
    Strip,
)
from support.job_stores import Reopen
from support.stored_jobs import (
    KEY,
    OTHER_KEY,
    admission,
    apply,
    dispatched,
    finish,
    job_id,
    new_job,
    running,
    token,
    usage,
)

RICH_KEY = KeyRow(
    id=KEY,
    name="app",
    hash="h1",
    scopes=("user",),
    created_at_ms=1,
    expires_at_ms=9,
    models=("tiny-chat", "tiny-story"),
    priority=Priority.BATCH,
    weight=3,
    requests_per_minute=60,
    concurrent_jobs=4,
    last_used_at_ms=7,
)


def named(number: int, name: str | None, *, key_id: KeyId = KEY) -> NewJob:
    """A job that was handed in under an idempotency key."""
    job = new_job(number, key_id=key_id)
    return replace(job, weight=5, idempotency_key=name, idempotency_hash="what it asked for")


# Idempotency


async def test_a_job_is_found_by_its_idempotency_key_and_owner(store: JobStore) -> None:
    await apply(store, admission(named(1, "a")), admission(named(2, "b")), admission(3))
    found = await store.job_of(KEY, "b")
    assert found is not None
    assert (found.id, found.weight) == (job_id(2), 5)
    assert (found.idempotency_key, found.idempotency_hash) == ("b", "what it asked for")
    assert found == await store.job(job_id(2))
    assert await store.job_of(OTHER_KEY, "b") is None
    assert await store.job_of(KEY, "c") is None


async def test_one_idempotency_key_admits_one_job(store: JobStore) -> None:
    futures = [store.submit(admission(named(number, "a"))) for number in (1, 2)]
    first, second = await asyncio.gather(*futures, return_exceptions=True)
    assert first == 1
    assert isinstance(second, DataError)
    assert second.code is Code.CONFLICT
    assert await store.job(job_id(2)) is None
    assert await store.last_seq(job_id(2)) == 0


async def test_other_keys_and_jobs_without_a_name_do_not_clash(store: JobStore) -> None:
    foreign = admission(named(2, "a", key_id=OTHER_KEY))
    nameless = [admission(named(number, None)) for number in (3, 4)]
    assert await apply(store, admission(named(1, "a")), foreign, *nameless) == [1] * 4


async def test_an_idempotency_key_lives_as_long_as_its_row(store: JobStore) -> None:
    await apply(store, admission(named(1, "a")), finish(1, at_ms=10))
    await apply(store, Strip(before_ms=11, limit=9))
    with pytest.raises(DataError):
        await store.submit(admission(named(2, "a")))
    await apply(store, Purge(before_ms=11, limit=9))
    assert await store.job_of(KEY, "a") is None
    assert await apply(store, admission(named(3, "a"))) == [1]


async def test_a_continued_attempt_tells_how_much_it_kept(reopen: Reopen) -> None:
    await apply(await reopen(), admission(1), replace(dispatched(1), kept_tokens=17))
    [attempt] = await (await reopen()).attempts(job_id(1))
    assert attempt.kept_tokens == 17


# Retention in two stages


async def test_a_stripped_job_is_listed_without_its_texts(store: JobStore) -> None:
    await apply(store, admission(1), dispatched(1), running(1), token(1, 3))
    await apply(store, finish(1, attempt=1, seq=4, at_ms=100, retain_request=True))
    before = await store.job(job_id(1))
    assert before is not None
    assert await apply(store, Strip(before_ms=101, limit=9)) == [1]
    assert await store.job(job_id(1)) == replace(before, request_json=None, output=None)
    assert [job.id for job in (await store.list_jobs(JobFilter())).items] == [job_id(1)]
    assert len(await store.attempts(job_id(1))) == 1
    assert await store.usage(job_id(1)) == usage(1)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(JobStatus.COMPLETED, EventKind.END), (JobStatus.FAILED, EventKind.ERROR)],
)
async def test_the_terminal_event_of_a_stripped_job_keeps_its_number(
    store: JobStore, status: JobStatus, kind: EventKind
) -> None:
    await apply(store, admission(1), dispatched(1), running(1), token(1, 3))
    await apply(store, finish(1, attempt=1, seq=4, at_ms=100, status=status))
    await apply(store, Strip(before_ms=101, limit=9))
    [left] = await store.events_after(job_id(1), 0, 10)
    assert (left.seq, left.kind) == (4, kind)
    assert await store.events_after(job_id(1), 3, 10) == [left]
    assert await store.events_after(job_id(1), 4, 10) == []
    assert await store.last_seq(job_id(1)) == 4


async def test_stripping_takes_the_oldest_first_and_each_once(store: JobStore) -> None:
    for number, at_ms in ((1, 300), (2, 100), (3, 200), (4, 900)):
        await apply(store, admission(number), finish(number, at_ms=at_ms, retain_request=True))
    await apply(store, admission(5))
    assert await apply(store, Strip(before_ms=500, limit=2)) == [2]
    left = [await store.job(job_id(number)) for number in (1, 2, 3, 4, 5)]
    assert [job.request_json is not None for job in left if job] == [True, False, False, True, True]
    assert await apply(store, Strip(before_ms=500, limit=2)) == [1]
    assert await apply(store, Strip(before_ms=500, limit=2)) == [0]


async def test_a_purge_takes_stripped_jobs_too(store: JobStore) -> None:
    await apply(store, admission(1), finish(1, at_ms=100), Strip(before_ms=101, limit=9))
    assert await apply(store, Purge(before_ms=101, limit=9)) == [1]
    assert await store.job(job_id(1)) is None
    assert await store.events_after(job_id(1), 0, 10) == []


async def test_old_usage_goes_a_few_rows_at_a_time(store: JobStore) -> None:
    for number, at_ms in ((1, 100), (2, 200), (3, 900), (4, 300)):
        await apply(store, RecordUsage(replace(usage(number), ended_at_ms=at_ms)))
    assert await apply(store, PurgeUsage(before_ms=500, limit=1)) == [1]
    assert await apply(store, PurgeUsage(before_ms=500, limit=9)) == [2]
    assert await apply(store, PurgeUsage(before_ms=500, limit=9)) == [0]
    left = [number for number in (1, 2, 3, 4) if await store.usage(job_id(number))]
    assert left == [3]


# Usage and keys


async def test_usage_is_summed_up_per_key_and_model(store: JobStore) -> None:
    failed = replace(usage(2, JobStatus.FAILED), prompt_tokens=0, completion_tokens=1)
    story = replace(usage(3), model="tiny-story", completion_tokens=500)
    foreign = replace(usage(4), key_id=OTHER_KEY, ended_at_ms=9000)
    await apply(store, *map(RecordUsage, (usage(1), failed, story, foreign)))
    chat_total = UsageTotal(
        key_id=KEY,
        model="tiny-chat",
        jobs=2,
        completed=1,
        prompt_tokens=3,
        completion_tokens=6,
    )
    story_total = replace(
        chat_total, model="tiny-story", jobs=1, prompt_tokens=3, completion_tokens=500
    )
    foreign_total = replace(chat_total, key_id=OTHER_KEY, jobs=1, completion_tokens=5)
    assert await store.usage_totals() == [story_total, chat_total, foreign_total]
    assert await store.usage_totals(key_id=KEY) == [story_total, chat_total]
    assert await store.usage_totals(since_ms=9000) == [foreign_total]
    assert await store.usage_totals(key_id=KEY, since_ms=9000) == []


async def test_a_key_reads_back_with_every_field(reopen: Reopen) -> None:
    nothing_allowed = replace(RICH_KEY, id=OTHER_KEY, hash="h2", models=())
    await apply(await reopen(), PutKey(RICH_KEY), PutKey(nothing_allowed))
    store = await reopen()
    assert await store.keys() == [RICH_KEY, nothing_allowed]
    changed = replace(RICH_KEY, models=None, weight=1, requests_per_minute=None)
    await apply(store, PutKey(changed))
    assert await store.keys() == [changed, nothing_allowed]


async def test_the_last_use_of_known_keys_is_noted(store: JobStore) -> None:
    await apply(store, PutKey(RICH_KEY), PutKey(replace(RICH_KEY, id=OTHER_KEY, hash="h2")))
    unknown = KeyId("key_00000000000000000000000009")
    assert await apply(store, NoteKeyUse({KEY: 50, OTHER_KEY: 60, unknown: 70})) == [2]
    assert [key.last_used_at_ms for key in await store.keys()] == [50, 60]
    assert await apply(store, NoteKeyUse({})) == [0]
