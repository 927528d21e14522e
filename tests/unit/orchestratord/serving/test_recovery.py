"""Unfinished jobs come back in their old order, whatever the clock does meanwhile."""

import json
from dataclasses import dataclass, field
from typing import Any

from orchestrator_core.catalog.entries import spec_for
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.contracts.tasks import EventKind, JobStatus, Priority, TaskKind
from orchestrator_core.errors import LlorchError, Refusal
from orchestrator_core.scheduler.events import JobRestored
from orchestrator_core.testing.clocks import FakeClock
from orchestrator_core.testing.facts import job_id, key_id
from orchestratord.runtime.durable_job import Journal
from orchestratord.runtime.flusher import Flusher
from orchestratord.runtime.live import LiveJobs
from orchestratord.runtime.workerbook import WorkerBook
from orchestratord.serving.recovery import restore_jobs
from orchestratord.store.memory import MemoryStore
from orchestratord.store.rows import EventRow, NewJob
from orchestratord.store.writes import AdmitJob, MarkDispatched, RequestCancel


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


async def restored(store: MemoryStore, clock: FakeClock) -> tuple[list[JobRestored], LiveJobs]:
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
        default_max_tokens=10,
    )
    assert count == len(loop.posted) == len(jobs)
    return loop.posted, jobs


async def admit(store: MemoryStore, number: int, created_at_ms: int, **more: Any) -> None:
    entry = Catalog.load().resolve("tiny-chat")
    assert not isinstance(entry, Refusal)
    words = more.pop("words", {"prompt": "x", "seed": 1})
    new = NewJob(
        id=job_id(number),
        key_id=key_id(),
        model="tiny-chat",
        task=TaskKind.GENERATE,
        priority=Priority.INTERACTIVE,
        request_json=json.dumps(words),
        request_hash="",
        seed=1,
        spec_json=spec_for(entry).model_dump_json(),
        created_at_ms=created_at_ms,
        **more,
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
