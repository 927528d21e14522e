"""Unfinished jobs come back in their old order, whatever the clock does meanwhile."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from orchestrator_core.catalog.entries import spec_for
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.tasks import EventKind, JobStatus, Priority, TaskKind
from orchestrator_core.errors import LlorchError, Refusal
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.scheduler.events import JobRestored
from orchestrator_core.testing.clocks import FakeClock
from orchestrator_core.testing.facts import job_id, key_id
from orchestratord.runtime.flusher import Flusher
from orchestratord.runtime.jobs.durable_job import DurableJob, Journal
from orchestratord.runtime.jobs.kept_text import KEPT_LIMIT_BYTES
from orchestratord.runtime.jobs.live import LiveJobs
from orchestratord.runtime.workerbook import WorkerAddress, WorkerBook
from orchestratord.serving.admission.ledger import Ledger, QueueBounds
from orchestratord.serving.admission.recovery import restore_jobs
from orchestratord.store.memory import MemoryStore
from orchestratord.store.rows import EventRow, NewJob
from orchestratord.store.writes import (
    AdmitJob,
    AppendEvents,
    MarkDispatched,
    MarkRunning,
    RequestCancel,
)
from support.waiting import until

WORKER = WorkerAddress(
    worker_id=WorkerId("wrk_1"),
    name="worker-cpu-1",
    pool_id=PoolId("home"),
    host="127.0.0.1",
    port=1,
    model="tiny-chat",
    ctx=1024,
)


class RunningClock(FakeClock):
    """Every look at the time takes a while, and the two clocks never tick together."""

    def __init__(self) -> None:
        super().__init__(unix_ms=1_000_000, monotonic_s=5_000.0)
        self._microseconds = 0

    def _tick(self) -> None:
        self._microseconds += 300

    def unix_ms(self) -> int:
        self._tick()
        return super().unix_ms() + self._microseconds // 1000

    def monotonic_s(self) -> float:
        self._tick()
        return super().monotonic_s() + self._microseconds / 1e6


@dataclass
class FakeLoop:
    clock: FakeClock
    posted: list[JobRestored] = field(default_factory=list)

    def now(self) -> float:
        return self.clock.monotonic_s()

    def post(self, event: Any) -> None:
        self.posted.append(event)


def roomy() -> Ledger:
    return Ledger(QueueBounds(jobs=99, size_bytes=9999, jobs_of_key=99, jobs_of_model=99))


async def restored(
    store: MemoryStore, clock: FakeClock, ledger: Ledger | None = None, unreadable: int = 0
) -> tuple[list[JobRestored], LiveJobs]:
    jobs, loop = LiveJobs(), FakeLoop(clock)
    failures: list[LlorchError] = []
    journal = Journal(
        store=store,
        book=WorkerBook(),
        clock=clock,
        flusher=Flusher(),
        forget=jobs.drop,
        on_failure=failures.append,
    )
    count = await restore_jobs(
        journal=journal,
        jobs=jobs,
        loop=loop,  # type: ignore[arg-type]
        catalog=Catalog.load(),
        ledger=roomy() if ledger is None else ledger,
        default_max_tokens=10,
    )
    assert count == len(loop.posted) + unreadable
    assert not failures
    return loop.posted, jobs


async def admit(store: MemoryStore, number: int, created_at_ms: int, **more: Any) -> None:
    entry = Catalog.load().resolve("tiny-chat")
    assert not isinstance(entry, Refusal)
    words = more.pop("words", {"prompt": "x", "seed": 1})
    fields: dict[str, Any] = {
        "request_json": json.dumps(words),
        "spec_json": spec_for(entry).model_dump_json(),
        **more,
    }
    new = NewJob(
        id=job_id(number),
        key_id=key_id(),
        model="tiny-chat",
        task=TaskKind.GENERATE,
        priority=Priority.INTERACTIVE,
        request_hash="",
        seed=1,
        created_at_ms=created_at_ms,
        **fields,
    )
    await store.submit(AdmitJob(new, EventRow(new.id, 1, EventKind.QUEUED, "{}")))


async def test_jobs_of_one_millisecond_keep_their_order() -> None:
    store = MemoryStore()
    for number in range(1, 41):
        await admit(store, number, created_at_ms=900_000 + number // 8)
    posted, _ = await restored(store, RunningClock())
    places = [(event.job.queued_at, event.job.id) for event in posted]
    assert [name for _, name in sorted(places)] == [job_id(number) for number in range(1, 41)]


async def test_the_facts_of_a_row_come_back() -> None:
    store, clock = MemoryStore(), FakeClock(unix_ms=1_000_000, monotonic_s=50.0)
    await admit(
        store,
        1,
        created_at_ms=990_000,
        deadline_at_ms=1_060_000,
        words={"prompt": "x", "pin": {"pool": "attic"}, "seed": 1},
    )
    await admit(store, 2, created_at_ms=2_000_000)
    write = MarkDispatched(job_id=job_id(2), attempt=1, pool_id="home", worker_id="wrk_1", at_ms=1)  # type: ignore[arg-type]
    await store.submit(write)
    await store.submit(RequestCancel(job_id=job_id(2), at_ms=1))
    (first, second), jobs = await restored(store, clock)
    assert (first.job.queued_at, first.job.deadline_at) == (40.0, 110.0)
    assert (first.job.pin_pool, first.attempt, first.was_alive) == ("attic", 0, False)
    # A clock that was set back makes no job older than now.
    assert (second.job.queued_at, second.job.deadline_at) == (50.0, None)
    assert (second.attempt, second.was_alive, second.cancel_requested) == (1, True, True)
    row = await store.job(job_id(2))
    assert row is not None
    assert row.status is JobStatus.DISPATCHED
    assert jobs.get(job_id(1)) is not None


async def test_weight_and_place_come_back() -> None:
    store, ledger = MemoryStore(), roomy()
    await admit(store, 1, created_at_ms=1, weight=5)
    await admit(store, 2, created_at_ms=2)
    (first, second), _ = await restored(store, FakeClock(), ledger)
    assert (first.job.weight, second.job.weight) == (5, 1)
    assert (len(ledger), ledger.jobs_of_key(key_id()), ledger.jobs_of_model("tiny-chat")) == (
        2,
    ) * 3


async def answered(store: MemoryStore, number: int, *texts: str) -> None:
    """Let a job have begun its answer, one token in each event."""
    name = job_id(number)
    await store.submit(
        MarkDispatched(job_id=name, attempt=1, pool_id="home", worker_id="wrk_1", at_ms=1)  # type: ignore[arg-type]
    )
    await store.submit(MarkRunning(job_id=name, attempt=1, at_ms=1))
    for place, text in enumerate(texts):
        told = json.dumps({"t": text, "i": place, "n": 1})
        await store.submit(AppendEvents((EventRow(name, place + 2, EventKind.TOKEN, told),)))


@pytest.mark.parametrize(
    ("more", "resumable"),
    [({}, True), ({"stop": ["y"]}, False), ({"response_format": {"type": "json_object"}}, False)],
)
async def test_an_answer_goes_on_only_where_nothing_speaks_against_it(
    more: dict[str, Any], resumable: bool
) -> None:
    store = MemoryStore()
    await admit(store, 1, created_at_ms=1, words={"prompt": "x", "seed": 1, **more})
    await answered(store, 1, "Once ", "upon")
    (event,), jobs = await restored(store, FakeClock())
    assert (event.tokens_kept, event.was_alive, event.resumable) == (2, True, resumable)
    job = jobs.get(job_id(1))
    assert isinstance(job, DurableJob)
    kept = job.kept(WORKER)
    assert kept == (("Once upon", 2) if resumable else None)


async def test_more_text_than_is_kept_starts_over() -> None:
    store = MemoryStore()
    await admit(store, 1, created_at_ms=1)
    await answered(store, 1, "a" * KEPT_LIMIT_BYTES, "b")
    (event,), _ = await restored(store, FakeClock())
    assert not event.resumable


async def test_a_job_that_has_shown_nothing_has_nothing_to_go_on_behind() -> None:
    store = MemoryStore()
    await admit(store, 1, created_at_ms=1)
    (event,), _ = await restored(store, FakeClock())
    assert (event.tokens_kept, event.resumable) == (0, False)


@pytest.mark.parametrize(
    "damage",
    [
        {"words": None},
        {"words": ["x"]},
        {"words": {"seed": 1}},
        {"words": {"prompt": 5}},
        {"request_json": "{"},
        {"spec_json": "{}"},
        {"spec_json": "["},
    ],
)
async def test_a_row_that_cannot_be_read_ends_its_job_and_no_other(damage: dict[str, Any]) -> None:
    store, ledger = MemoryStore(), roomy()
    await admit(store, 1, created_at_ms=1, **damage)
    await admit(store, 2, created_at_ms=2)
    posted, jobs = await restored(store, FakeClock(), ledger, unreadable=1)
    assert [event.job.id for event in posted] == [job_id(2)]

    async def failed() -> bool:
        row = await store.job(job_id(1))
        return row is not None and row.status is JobStatus.FAILED

    await until(failed, what="the end of the damaged job")
    row = await store.job(job_id(1))
    assert row is not None
    assert row.error_code == "DATA_CORRUPT"
    assert "submit it again" in str(row.error_message)
    last = (await store.events_after(job_id(1), 0, 10))[-1]
    assert (last.seq, last.kind) == (2, EventKind.ERROR)
    assert [job.id for job in jobs] == [job_id(2)]
    assert len(ledger) == 1
