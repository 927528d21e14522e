"""The writing thread: its groups, and what it does when the disk fails."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from orchestrator_core.errors import Code, DataError, HostError
from orchestratord.store.database import open_database
from orchestratord.store.queries import load_queries
from orchestratord.store.writer import Writer
from support.stored_jobs import admission, job_id, new_job
from support.waiting import until

SQL = load_queries()
LONG = "x" * 1_000_000

FILE_LIMIT = """
import asyncio, os, resource, sys
from pathlib import Path
from orchestrator_core.errors import HostError
from orchestratord.store.sqlite import SqliteStore
from support.stored_jobs import admission, new_job

async def main():
    path = Path(sys.argv[1])
    store = await SqliteStore.open(path)
    await store.submit(admission(1))
    size = path.with_name(path.name + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, resource.RLIM_INFINITY))
    futures = [store.submit(admission(new_job(2, prompt="x" * 1_000_000))), store.submit(admission(3))]
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    assert all(isinstance(outcome, HostError) for outcome in outcomes), outcomes
    assert store.failed is not None
    try:
        store.submit(admission(4))
    except HostError as error:
        print(error)
    assert (await store.job("job_" + "1".zfill(26))) is not None
    await store.close()

asyncio.run(main())
"""


class BrokenDisk:
    """Connections whose next COMMIT fails as it does when fsync reports an error."""

    def __init__(self, path: Path, errorcode: int) -> None:
        self.path = path
        self.errorcode = errorcode
        self.armed = False

    def connect(self) -> sqlite3.Connection:
        disk = self

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
                if disk.armed and sql == "COMMIT":
                    disk.armed = False
                    error = sqlite3.OperationalError("disk I/O error")
                    error.sqlite_errorcode = disk.errorcode
                    raise error
                return super().execute(sql, parameters)

        connection = open_database(self.path, SQL)
        plain_cursor = connection.cursor

        class Connection:
            def cursor(self) -> sqlite3.Cursor:
                return plain_cursor(Cursor)

            def __getattr__(self, name: str) -> object:
                return getattr(connection, name)

        return Connection()  # pyright: ignore[reportReturnType] - it quacks like one


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orchestrator.db"


@pytest.fixture
async def open_writer() -> AsyncIterator[Callable[..., asyncio.Future[Writer]]]:
    opened: list[Writer] = []

    async def open_one(connect: Callable[[], sqlite3.Connection], **limits: int) -> Writer:
        writer = Writer(connect, SQL, **limits)
        opened.append(writer)
        await writer.open()
        return writer

    yield open_one
    for writer in opened:
        await writer.close()


def stored_ids(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM jobs ORDER BY id")]


async def test_all_that_waits_is_committed_as_one_group(open_writer, path: Path) -> None:
    writer = await open_writer(partial(open_database, path, SQL))
    with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        first = writer.submit(admission(1))
        rest = [writer.submit(admission(number)) for number in range(2, 102)]
        blocker.execute("ROLLBACK")
    await asyncio.gather(first, *rest)
    # The thread may have taken the first write before the others stood in the queue.
    assert writer._groups_settled <= 2
    assert len(stored_ids(path)) == 101


async def test_a_group_has_a_limit(open_writer, path: Path) -> None:
    writer = await open_writer(partial(open_database, path, SQL), group_limit=10)
    await asyncio.gather(*[writer.submit(admission(number)) for number in range(1, 102)])
    assert writer._groups_settled >= 11


async def test_a_value_that_sqlite_cannot_hold_fails_alone(open_writer, path: Path) -> None:
    writer = await open_writer(partial(open_database, path, SQL))
    lone_surrogate = admission(new_job(2, prompt="\ud800"))
    too_large = admission(replace(new_job(3), seed=1 << 70))
    writes = [admission(1), lone_surrogate, too_large, admission(4)]
    futures = [writer.submit(write) for write in writes]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(result) for result in results] == [int, DataError, DataError, int]
    assert stored_ids(path) == [job_id(1), job_id(4)]
    assert writer.failed is None


async def test_a_full_disk_fails_the_group_and_not_the_store(open_writer, path: Path) -> None:
    def connect() -> sqlite3.Connection:
        connection = open_database(path, SQL)
        connection.execute("PRAGMA max_page_count = 100")
        return connection

    writer = await open_writer(connect)
    with pytest.raises(HostError) as refused:
        await writer.submit(admission(new_job(1, prompt=LONG)))
    assert refused.value.code is Code.DISK_LOW
    assert writer.failed is None
    assert await writer.submit(admission(2)) == 1
    assert stored_ids(path) == [job_id(2)]


async def test_a_failed_fsync_ends_the_store(open_writer, path: Path) -> None:
    disk = BrokenDisk(path, sqlite3.SQLITE_IOERR_FSYNC)
    writer = await open_writer(disk.connect)
    await writer.submit(admission(1))
    disk.armed = True
    futures = [writer.submit(admission(2)), writer.submit(admission(3))]
    results = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(result) for result in results] == [HostError, HostError]
    assert writer.failed is not None
    assert writer.failed.code is Code.INTERNAL
    with pytest.raises(HostError, match="restart the daemon"):
        writer.submit(admission(4))
    await writer.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT clean FROM shutdown").fetchone() == (0,)


async def test_a_full_disk_at_the_commit_fails_the_group_alone(open_writer, path: Path) -> None:
    disk = BrokenDisk(path, sqlite3.SQLITE_FULL)
    writer = await open_writer(disk.connect)
    disk.armed = True
    with pytest.raises(HostError) as refused:
        await writer.submit(admission(1))
    assert refused.value.code is Code.DISK_LOW
    assert await writer.submit(admission(1)) == 1


def test_a_disk_that_takes_no_more_bytes_ends_the_store(path: Path) -> None:
    environment = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    child = [sys.executable, "-W", "error", "-c", FILE_LIMIT, str(path)]
    done = subprocess.run(child, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "check the disk, then restart" in done.stdout
    assert stored_ids(path) == [job_id(1)]


async def test_the_loop_makes_way_while_a_group_lasts_and_only_then(
    open_writer, path: Path
) -> None:
    writer = await open_writer(partial(open_database, path, SQL))
    made_way: list[int] = []
    make_way = writer._make_way
    writer._make_way = lambda before: (made_way.append(before), make_way(before))
    with closing(sqlite3.connect(path, isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        future = writer.submit(admission(1))
        await until(lambda: len(made_way) >= 2, what="the loop to make way twice")
        blocker.execute("ROLLBACK")
    assert await future == 1
    await until(lambda: writer._watch is None, what="the watch to end")


async def test_opening_fails_with_the_reason_and_close_still_works(tmp_path: Path) -> None:
    writer = Writer(partial(open_database, tmp_path, SQL), SQL)
    with pytest.raises(HostError):
        await writer.open()
    await writer.close()
    with pytest.raises(HostError, match="closed"):
        writer.submit(admission(1))
