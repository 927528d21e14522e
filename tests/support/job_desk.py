"""A stored job on a desk of its own: what it is told, and what it has written and shown."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from orchestrator_core.contracts.tasks import (
    EventKind,
    JobStatus,
    Priority,
    TaskKind,
)
from orchestrator_core.errors import Code, LlorchError
from orchestrator_core.ids import JobId, PoolId, WorkerId
from orchestrator_core.scheduler.commands import (
    Finish,
    PersistDispatched,
    PersistRequeued,
    PersistRunning,
)
from orchestrator_core.testing.clocks import FakeClock
from orchestrator_core.testing.facts import job_id, key_id
from orchestrator_core.testing.reports import worker_report
from orchestratord.runtime.flusher import Flusher
from orchestratord.runtime.jobs.durable_job import DurableJob, Identity, Journal
from orchestratord.runtime.jobs.live import Piece
from orchestratord.runtime.workerbook import WorkerAddress, WorkerBook
from orchestratord.serving.attempts.wording import task_wording
from orchestratord.store.memory import MemoryStore
from orchestratord.store.rows import EventRow, NewJob
from orchestratord.store.writes import AdmitJob, Write
from orchestratord.upstream.chunks import Chunk

POOL, WORKER = PoolId("home"), WorkerId(f"wrk_{'0' * 26}")
ID = job_id(1)
ADDRESS = WorkerAddress(
    worker_id=WORKER, name="w", pool_id=POOL, host="127.0.0.1", port=1, model="tiny-chat", ctx=99
)


class NoValve:
    def pause(self) -> None:
        raise AssertionError("rows bound a stored job, not its readers")

    resume = pause


class LazyFlusher(Flusher):
    """Flushes only when told."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted = 0

    def want(self, who: Any) -> None:
        self.wanted += 1
        self._waiting.add(who)


class RecordingStore(MemoryStore):
    def __init__(self) -> None:
        super().__init__()
        self.writes: list[Write] = []

    def post(self, write: Write, on_commit: Any = None) -> None:
        self.writes.append(write)
        super().post(write, on_commit)


@dataclass
class Desk:
    store: RecordingStore
    job: DurableJob
    flusher: LazyFlusher
    clock: FakeClock
    forgotten: list[JobId] = field(default_factory=list)
    failures: list[LlorchError] = field(default_factory=list)

    async def rows(self) -> list[tuple[int, str, dict[str, Any]]]:
        found = await self.store.events_after(ID, 0, 1000)
        return [(row.seq, row.kind.value, json.loads(row.data)) for row in found]

    async def shown(self) -> list[bytes]:
        await settle()
        return list(self.job.log.after(0) or ())

    def say(self, *words: str) -> None:
        pieces = [Piece(b"", Chunk({}, text=word)) for word in words]
        self.job.deliver(pieces, NoValve())

    def dispatch(self, attempt: int = 1) -> None:
        command = PersistDispatched(job_id=ID, attempt=attempt, pool_id=POOL, worker_id=WORKER)
        self.job.on_dispatched(command)

    def run(self, attempt: int = 1) -> None:
        self.dispatch(attempt)
        self.job.on_running(
            PersistRunning(job_id=ID, attempt=attempt, pool_id=POOL, worker_id=WORKER)
        )

    def requeue(self, attempt: int = 1, tokens: int = 0, keep: int = 0) -> None:
        self.job.on_requeued(
            PersistRequeued(
                job_id=ID,
                attempt=attempt,
                reason=Code.WORKER_LOST,
                message="it died",
                tokens=tokens,
                keep_tokens=keep,
            )
        )

    def finish(self, status: JobStatus = JobStatus.COMPLETED, **more: Any) -> None:
        self.job.on_finish(Finish(job_id=ID, attempt=1, status=status, **more))


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def open_desk() -> Desk:
    """A job that was admitted a moment ago, and all that it needs."""
    store, clock, flusher, book = RecordingStore(), FakeClock(), LazyFlusher(), WorkerBook()
    book.replace(POOL, [worker_report(WORKER)])
    forgotten: list[JobId] = []
    failures: list[LlorchError] = []
    journal = Journal(
        store=store,
        book=book,
        clock=clock,
        flusher=flusher,
        forget=forgotten.append,
        on_failure=failures.append,
    )
    new = NewJob(
        id=ID,
        key_id=key_id(),
        model="tiny-chat",
        task=TaskKind.GENERATE,
        priority=Priority.INTERACTIVE,
        request_json="{}",
        request_hash="",
        seed=1,
        spec_json="{}",
        created_at_ms=5,
    )
    queued = EventRow(ID, 1, EventKind.QUEUED, "{}")
    await store.submit(AdmitJob(new, queued))
    identity = Identity(
        id=ID, key_id=new.key_id, model="tiny-chat", task=TaskKind.GENERATE, created_at_ms=5
    )
    job = DurableJob(
        identity,
        journal=journal,
        word=task_wording({"prompt": "Hello"}, {}, 100),
        last_seq=0,
        attempted=False,
    )
    job.admitted(queued)
    return Desk(store, job, flusher, clock, forgotten, failures)
