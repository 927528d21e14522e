"""The n-th access to the disk fails, for every n: nothing is lost, doubled or put out of order."""

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator_core.errors import CapacityError, Code, LlorchError
from orchestratord.store.database import close_database, open_database
from orchestratord.store.port import Outcome
from orchestratord.store.queries import load_queries
from orchestratord.store.writer import Writer
from orchestratord.store.writes import Write
from support.stored_jobs import admission, dispatched, finish, job_id, running, token
from support.waiting import until

SQL = load_queries()
JOBS = 2
CALLS_MAX = 200


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without a row, which is copied faster than made."""
    path = tmp_path_factory.mktemp("empty") / "empty.db"
    close_database(open_database(path, SQL), SQL)
    return path


class FailingDisk:
    """A database whose statements fail from the n-th on: once, or until somebody mends it."""

    def __init__(
        self, path: Path, *, errorcode: int, first: int, for_ever: bool, ends_transaction: bool
    ) -> None:
        self._path = path
        self._errorcode = errorcode
        self._first = first
        self._for_ever = for_ever
        # SQLite itself rolls back after some errors, so that ours finds nothing to roll back.
        self._ends_transaction = ends_transaction
        self._calls = 0
        self.failures = 0

    def connect(self) -> sqlite3.Connection:
        disk = self
        connection = open_database(self._path, SQL, synchronous="NORMAL")

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
                disk.pass_or_fail(connection, sql)
                return super().execute(sql, parameters)

        class Connection:
            def cursor(self) -> sqlite3.Cursor:
                return connection.cursor(Cursor)

            def __getattr__(self, name: str) -> object:
                return getattr(connection, name)

        return Connection()  # pyright: ignore[reportReturnType] - it quacks like one

    def pass_or_fail(self, connection: sqlite3.Connection, sql: str) -> None:
        """Count one statement, and fail when it is its turn."""
        self._calls += 1
        if self._calls < self._first or sql.startswith("ROLLBACK"):
            return
        if self.failures and not self._for_ever:
            return
        self.failures += 1
        if self._ends_transaction and connection.in_transaction:
            connection.execute("ROLLBACK")
        error = sqlite3.OperationalError("a drill")
        error.sqlite_errorcode = self._errorcode
        raise error

    def mend(self) -> None:
        """Let everything work again."""
        self._for_ever = False


@dataclass
class Story:
    """What a daemon writes of a few jobs, and what it was told of each write, in order."""

    told: list[tuple[Write, Outcome]] = field(default_factory=list)
    admitted: list[int] = field(default_factory=list)

    async def run(self, writer: Writer, disk: FailingDisk) -> None:
        """Admit the jobs one after the other; those that come in are worked on meanwhile."""
        for number in range(1, JOBS + 1):
            try:
                await writer.submit(admission(number))
            except LlorchError:
                continue
            self.admitted.append(number)
            for write in work_on(number):
                writer.post(write, lambda outcome, write=write: self.told.append((write, outcome)))
            await asyncio.sleep(0)
        if not writer.failed:
            await until(lambda: disk.failures > 1 or writer.waiting == 0, what="the first tries")
        disk.mend()
        await until(lambda: writer.waiting == 0, what="the outcomes")


def work_on(number: int) -> Sequence[Write]:
    return (
        dispatched(number),
        running(number),
        *[token(number, seq, seq - 3) for seq in range(3, 5)],
        finish(number, attempt=1, seq=5),
    )


def on_disk(path: Path) -> dict[str, tuple[str, list[int]]]:
    """Each job with its status and the numbers of its events."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        events = "SELECT seq FROM events WHERE job_id = ? ORDER BY seq"
        return {
            row[0]: (row[1], [seq for (seq,) in connection.execute(events, (row[0],))])
            for row in connection.execute("SELECT id, status FROM jobs")
        }


@pytest.mark.parametrize("ends_transaction", [False, True])
@pytest.mark.parametrize("for_ever", [False, True])
async def test_a_disk_without_room_at_any_moment_costs_no_write_of_work_in_progress(
    empty: Path, tmp_path: Path, for_ever: bool, ends_transaction: bool
) -> None:
    for first in range(1, CALLS_MAX):
        path = Path(shutil.copy(empty, tmp_path / f"{first}.db"))
        disk = FailingDisk(
            path,
            errorcode=sqlite3.SQLITE_FULL,
            first=first,
            for_ever=for_ever,
            ends_transaction=ends_transaction,
        )
        writer = Writer(disk.connect, SQL, full_retry_s=0.001, group_limit=3)
        await writer.open()
        story = Story()
        await story.run(writer, disk)
        await writer.close()
        assert [outcome for _, outcome in story.told] == [1] * len(story.told), first
        wanted = [write for number in story.admitted for write in work_on(number)]
        assert [write for write, _ in story.told] == wanted, first
        whole = ("completed", list(range(1, 6)))
        assert on_disk(path) == {job_id(number): whole for number in story.admitted}, first
        if not disk.failures:
            assert first > 20
            return
    pytest.fail("the story has no end")


async def test_a_failing_disk_at_any_moment_keeps_what_was_acknowledged_and_tells_all_others(
    empty: Path, tmp_path: Path
) -> None:
    for first in range(1, CALLS_MAX):
        path = Path(shutil.copy(empty, tmp_path / f"{first}.db"))
        disk = FailingDisk(
            path,
            errorcode=sqlite3.SQLITE_IOERR_FSYNC,
            first=first,
            for_ever=False,
            ends_transaction=False,
        )
        problems: list[LlorchError] = []
        writer = Writer(disk.connect, SQL, group_limit=3, on_failure=problems.append)
        await writer.open()
        story = Story()
        with contextlib.suppress(LlorchError):
            await story.run(writer, disk)
        await writer.close()
        assert len(problems) == disk.failures, first
        kept = [write for write, outcome in story.told if outcome == 1]
        # What follows on a write that failed has failed too.
        assert [write for write, _ in story.told[: len(kept)]] == kept, first
        found = on_disk(path)
        assert set(found) == {job_id(number) for number in story.admitted}, first
        for number in story.admitted:
            seqs = found[job_id(number)][1]
            assert seqs == list(range(1, len(seqs) + 1)), first
            done = [write for write in work_on(number) if write in kept]
            assert len(seqs) == 1 + max(0, len(done) - 1), first
        if not disk.failures:
            return
    pytest.fail("the story has no end")


async def test_a_write_of_work_in_progress_that_finds_no_place_ends_the_daemon(
    tmp_path: Path,
) -> None:
    disk = FailingDisk(
        tmp_path / "o.db",
        errorcode=sqlite3.SQLITE_FULL,
        first=10_000,
        for_ever=False,
        ends_transaction=False,
    )
    problems: list[LlorchError] = []
    writer = Writer(disk.connect, SQL, queue_limit=2, on_failure=problems.append)
    await writer.open()
    await writer.submit(admission(1))
    writes = work_on(1)
    for write in writes[:4]:
        writer.post(write)
    with pytest.raises(CapacityError) as refused:
        writer.post(writes[4])
    assert problems == [refused.value]
    assert refused.value.code is Code.QUEUE_FULL
    await writer.close()
