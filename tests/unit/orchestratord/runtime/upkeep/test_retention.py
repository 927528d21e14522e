"""When texts, jobs and usage are let go of, and that a shortage does not wait for the minute."""

import asyncio
from dataclasses import replace

import pytest

from orchestrator_core.errors import CapacityError, Code, Refusal
from orchestrator_core.testing.clocks import FakeClock
from orchestratord.runtime.upkeep.retention import Retention
from orchestratord.store.memory import MemoryStore
from orchestratord.store.writes import Purge, RecordUsage, Write
from support.stored_jobs import admission, apply, finish, job_id, usage
from support.waiting import until

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(unix_ms=1000 * DAY_MS)


@pytest.fixture
async def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def retention(store: MemoryStore, clock: FakeClock) -> Retention:
    return Retention(store=store, clock=clock, retention_h=24, history_h=168)


async def ended_ago(store: MemoryStore, clock: FakeClock, number: int, age_ms: int) -> None:
    at_ms = clock.unix_ms() - age_ms
    ended = finish(number, at_ms=at_ms, retain_request=True)
    used = replace(usage(number), ended_at_ms=at_ms)
    await apply(store, admission(number), replace(ended, usage=used))


async def test_texts_go_after_a_day_and_rows_after_a_week(
    store: MemoryStore, clock: FakeClock, retention: Retention
) -> None:
    for number, age_ms in enumerate((23 * HOUR_MS, 25 * HOUR_MS, 8 * DAY_MS), start=1):
        await ended_ago(store, clock, number, age_ms)
    await retention.run_once()
    fresh, stripped, purged = [await store.job(job_id(number)) for number in (1, 2, 3)]
    assert fresh is not None
    assert stripped is not None
    assert (fresh.output is None, stripped.output is None, purged) == (False, True, None)
    assert await store.usage(job_id(3)) is not None


async def test_many_old_jobs_go_in_one_run(
    store: MemoryStore, clock: FakeClock, retention: Retention
) -> None:
    for number in range(1, 60):
        await ended_ago(store, clock, number, 2 * DAY_MS)
    await retention.run_once()
    jobs = [await store.job(job_id(number)) for number in range(1, 60)]
    assert [job.output for job in jobs if job] == [None] * 59


async def test_usage_is_kept_for_400_days(
    store: MemoryStore, clock: FakeClock, retention: Retention
) -> None:
    for number, days in ((1, 401), (2, 399)):
        old = replace(usage(number), ended_at_ms=clock.unix_ms() - days * DAY_MS)
        await apply(store, RecordUsage(old))
    await retention.run_once()
    assert await store.usage(job_id(1)) is None
    assert await store.usage(job_id(2)) is not None


async def test_texts_never_outlive_their_rows(store: MemoryStore, clock: FakeClock) -> None:
    await ended_ago(store, clock, 1, 2 * HOUR_MS)
    await Retention(store=store, clock=clock, retention_h=24, history_h=1).run_once()
    assert await store.job(job_id(1)) is None


async def test_what_goes_as_a_whole_does_not_lose_its_texts_before(
    store: MemoryStore, clock: FakeClock, retention: Retention
) -> None:
    await ended_ago(store, clock, 1, 8 * DAY_MS)
    written: list[type[Write]] = []
    store.on_applied = lambda write: written.append(type(write))
    await retention.run_once()
    assert written == [Purge]


async def test_a_store_that_refuses_is_asked_again(
    store: MemoryStore,
    clock: FakeClock,
    retention: Retention,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(write: Write) -> asyncio.Future[int]:
        raise CapacityError(Refusal(Code.DISK_LOW, f"no room for {write}"))

    await ended_ago(store, clock, 1, 2 * DAY_MS)
    with monkeypatch.context() as broken:
        broken.setattr(store, "submit", refuse)
        await retention.run_once()
    await retention.run_once()
    job = await store.job(job_id(1))
    assert job is not None
    assert job.output is None


async def test_a_shortage_is_answered_at_once(
    store: MemoryStore, clock: FakeClock, retention: Retention
) -> None:
    running = asyncio.create_task(retention.run_for_ever(period_s=3600))
    await asyncio.sleep(0)
    await ended_ago(store, clock, 1, 8 * DAY_MS)
    retention.hurry()

    async def is_gone() -> bool:
        return await store.job(job_id(1)) is None

    await until(is_gone, what="the purge")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
