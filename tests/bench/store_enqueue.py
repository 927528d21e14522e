"""Prints what durable writes cost, as ratios against the raw disk measured in the same run.

Run it with `python tests/bench/store_enqueue.py [rounds]`; it takes about ten seconds, writes to
the folder for temporary files and asserts nothing.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from orchestrator_core.contracts.tasks import EventKind, JobStatus, Priority, TaskKind
from orchestrator_core.ids import JobId, KeyId, PoolId, WorkerId
from orchestratord.store.database import Synchronous, close_database, open_database
from orchestratord.store.groups import GroupCommit
from orchestratord.store.queries import load_queries
from orchestratord.store.rows import EventRow, NewJob, UsageRow
from orchestratord.store.sqlite import SqliteStore, StoreOptions
from orchestratord.store.statements import Statements
from orchestratord.store.writes import (
    AdmitJob,
    AppendEvents,
    FinishJob,
    MarkDispatched,
    MarkRunning,
)

CELL_S = 0.35
ROW = b"x" * 600
KEY = KeyId("key_01h455vb4pex5vsknk084sn02q")


def job_id(number: int) -> JobId:
    return JobId(f"job_{number:026d}")


def admission(number: int) -> AdmitJob:
    job = NewJob(
        id=job_id(number),
        key_id=KEY,
        model="tiny-chat",
        task=TaskKind.GENERATE,
        priority=Priority.BATCH,
        request_json='{"prompt":"' + "x" * 360 + '","max_tokens":16}',
        request_hash="0" * 64,
        seed=number,
        spec_json='{"model":"tiny-chat","backend":"cpu","ctx":1024,"parallel":1}',
        created_at_ms=1_700_000_000_000 + number,
    )
    data = f'{{"job_id":"{job.id}","queue_position":1}}'
    return AdmitJob(job, EventRow(job.id, 1, EventKind.QUEUED, data))


def finish(job: JobId) -> FinishJob:
    usage = UsageRow(
        job_id=job,
        key_id=KEY,
        model="tiny-chat",
        task=TaskKind.GENERATE,
        status=JobStatus.COMPLETED,
        created_at_ms=1,
        ended_at_ms=2,
        attempts=1,
        workers=("wrk_01h455vb4pex5vsknk084sn02q",),
    )
    return FinishJob(
        job_id=job,
        attempt=1,
        status=JobStatus.COMPLETED,
        at_ms=4,
        final_events=(EventRow(job, 4, EventKind.END, '{"tokens_out":16}'),),
        usage=usage,
        tokens_out=16,
        output="Hello! I am a tiny language model.",
    )


async def enqueue(store: SqliteStore, number: int) -> None:
    await store.submit(admission(number))


async def lifecycle(store: SqliteStore, number: int) -> None:
    job = job_id(number)
    await store.submit(admission(number))
    store.post(
        MarkDispatched(
            job_id=job, attempt=1, pool_id=PoolId("home"), worker_id=WorkerId("wrk"), at_ms=2
        )
    )
    started = EventRow(job, 2, EventKind.STARTED, '{"attempt":1,"worker":"wrk"}')
    store.post(MarkRunning(job_id=job, attempt=1, at_ms=3, events=(started,)))
    token = EventRow(job, 3, EventKind.TOKEN, '{"t":"Hello! I am a tiny","i":0,"n":16}')
    await store.submit(AppendEvents((token,)))
    await store.submit(finish(job))


async def rate(
    store: SqliteStore, waiting: int, act: Callable[[SqliteStore, int], Awaitable[None]]
) -> float:
    """Acts per second with this many in flight."""
    done = 0
    numbers = iter(range(1, 1 << 40))
    started = time.perf_counter()

    async def producer() -> None:
        nonlocal done
        while time.perf_counter() - started < CELL_S:
            await act(store, next(numbers))
            done += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(waiting):
            group.create_task(producer())
    return done / (time.perf_counter() - started)


class NeverRest:
    """Keeps the loop busy in turns of 50 us, as a gateway at its limit is."""

    def __init__(self) -> None:
        self._ended = False

    def turn(self) -> None:
        started = time.perf_counter()
        while time.perf_counter() - started < 50e-6:
            pass
        if not self._ended:
            asyncio.get_running_loop().call_soon(self.turn)

    def end(self) -> None:
        self._ended = True


def store_rate(
    folder: Path,
    waiting: int,
    act: Callable[[SqliteStore, int], Awaitable[None]],
    synchronous: Synchronous = "FULL",
    *,
    saturated: bool = False,
) -> float:
    async def measure() -> float:
        path = folder / f"{time.monotonic_ns()}.db"
        store = await SqliteStore.open(path, StoreOptions(synchronous=synchronous))
        other = NeverRest()
        try:
            if saturated:
                other.turn()
            return await rate(store, waiting, act)
        finally:
            other.end()
            await store.close()
            path.unlink()

    return asyncio.run(measure())


def raw_rate(folder: Path, rows: int) -> float:
    """Rows per second when each fdatasync carries this many."""
    path, done = folder / "raw", 0
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    started = time.perf_counter()
    while time.perf_counter() - started < CELL_S:
        os.write(file, ROW * rows)
        os.fdatasync(file)
        done += rows
    passed = time.perf_counter() - started
    os.close(file)
    path.unlink()
    return done / passed


def writer_cpu_us(folder: Path, _: int = 0) -> float:
    """CPU microseconds per admission inside the writer, in groups of 64."""
    sql = load_queries()
    path = folder / f"{time.monotonic_ns()}.db"
    connection = open_database(path, sql)
    turn = threading.Lock()
    groups = GroupCommit(connection, Statements(connection, sql), turn)
    turn.acquire()
    batches = [[admission(64 * b + i) for i in range(64)] for b in range(60)]
    started = time.thread_time()
    for batch in batches:
        groups.commit(batch)
    passed = time.thread_time() - started
    close_database(connection, sql)
    path.unlink()
    return passed / (60 * 64) * 1e6


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    cells: dict[str, Callable[[Path], float]] = {
        "raw fdatasync, one row each": lambda f: raw_rate(f, 1),
        "raw fdatasync, 64 rows each": lambda f: raw_rate(f, 64),
        "enqueue FULL, 64 waiting": lambda f: store_rate(f, 64, enqueue),
        "enqueue NORMAL, 64 waiting": lambda f: store_rate(f, 64, enqueue, "NORMAL"),
        "enqueue FULL, 256 waiting": lambda f: store_rate(f, 256, enqueue),
        "the same, the loop never rests": lambda f: store_rate(f, 256, enqueue, saturated=True),
        "lifecycle FULL, 64 in flight": lambda f: store_rate(f, 64, lifecycle),
        "writer CPU us per enqueue": writer_cpu_us,
    }
    samples: dict[str, list[float]] = {name: [] for name in cells}
    with tempfile.TemporaryDirectory() as name:
        for _ in range(rounds):
            for cell, measure in cells.items():
                samples[cell].append(measure(Path(name)))
    median = {cell: statistics.median(values) for cell, values in samples.items()}
    for cell, value in median.items():
        print(f"{cell:32} {value:>12,.1f}")
    raw, full = median["raw fdatasync, one row each"], median["enqueue FULL, 64 waiting"]
    normal = median["enqueue NORMAL, 64 waiting"]
    print(f"FULL / (raw fdatasync x 64)      {full / (64 * raw):>12.2f}")
    print(f"FULL / NORMAL                    {full / normal:>12.2f}")
    print(f"G8: FULL / min of both, >= 0.7   {full / min(64 * raw, normal):>12.2f}")
    print(f"lifecycle / raw fdatasync        {median['lifecycle FULL, 64 in flight'] / raw:>12.2f}")


if __name__ == "__main__":
    main()
