"""What the store does while its disk is full: who waits, who is refused, and what is lost (nothing)."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator_core.errors import CapacityError, Code, HostError, LlorchError
from orchestratord.store.ballast import Ballast
from orchestratord.store.database import open_database
from orchestratord.store.port import Outcome
from orchestratord.store.queries import load_queries
from orchestratord.store.sqlite import SqliteStore, StoreOptions
from orchestratord.store.writer import Writer
from support.stored_jobs import admission, dispatched, finish, job_id, new_job, running, token
from support.waiting import until

SQL = load_queries()
LONG = "x" * 1_000_000


class FullDisk:
    """A database that may not grow until there is room again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_full = False
        self.tries = 0
        self.gives_room = False
        self.errorcode = sqlite3.SQLITE_FULL

    def connect(self) -> sqlite3.Connection:
        disk = self

        class Cursor(sqlite3.Cursor):
            def execute(self, sql: str, parameters: tuple[object, ...] = ()) -> sqlite3.Cursor:
                if sql == "COMMIT" and disk.is_full:
                    disk.tries += 1
                    error = sqlite3.OperationalError("database or disk is full")
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

    def make_room(self) -> bool:
        """Give the ballast up, if the test has some."""
        if self.gives_room:
            self.is_full = self.gives_room = False
            return True
        return False


@pytest.fixture
def disk(tmp_path: Path) -> FullDisk:
    return FullDisk(tmp_path / "orchestrator.db")


@pytest.fixture
async def writer(disk: FullDisk) -> AsyncIterator[Writer]:
    writer = Writer(disk.connect, SQL, make_room=disk.make_room, full_retry_s=0.005, group_limit=4)
    await writer.open()
    yield writer
    disk.is_full = False
    await writer.close()


def events_of(path: Path, number: int) -> list[int]:
    """The numbers of a job's events on disk."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT seq FROM events WHERE job_id = ?", (job_id(number),))
        return [row[0] for row in rows]


async def test_writes_of_work_in_progress_wait_for_space_in_their_order(
    writer: Writer, disk: FullDisk
) -> None:
    await writer.submit(admission(1))
    disk.is_full = True
    outcomes: list[Outcome] = []
    for write in (dispatched(1), running(1), *[token(1, seq, seq) for seq in range(3, 12)]):
        writer.post(write, outcomes.append)
    await until(lambda: disk.tries >= 3, what="three tries")
    writer.post(finish(1, attempt=1, seq=12), outcomes.append)
    assert (outcomes, writer.failed, writer.full) == ([], None, True)
    disk.is_full = False
    await until(lambda: len(outcomes) == 12, what="the writes")
    assert outcomes == [1] * 12
    await until(lambda: not writer.full, what="the end of the shortage")
    assert events_of(disk.path, 1) == list(range(1, 13))
    assert await writer.submit(admission(2)) == 1


async def test_new_work_is_refused_at_once_while_writes_wait(
    writer: Writer, disk: FullDisk
) -> None:
    await writer.submit(admission(1))
    disk.is_full = True
    outcomes: list[Outcome] = []
    writer.post(dispatched(1), outcomes.append)
    await until(lambda: writer.full, what="the shortage")
    with pytest.raises(CapacityError) as refused:
        writer.submit(admission(2))
    assert refused.value.code is Code.DISK_LOW
    assert refused.value.refusal.retry_after_s == 30


async def test_new_work_in_a_group_that_finds_no_room_is_refused_and_the_rest_waits(
    writer: Writer, disk: FullDisk
) -> None:
    await writer.submit(admission(1))
    disk.is_full = True
    outcomes: list[Outcome] = []
    writer.post(dispatched(1), outcomes.append)
    admitted = writer.submit(admission(2))
    writer.post(running(1), outcomes.append)
    with pytest.raises(HostError) as refused:
        await admitted
    assert refused.value.code is Code.DISK_LOW
    disk.is_full = False
    await until(lambda: outcomes == [1, 1], what="the posted writes")
    assert events_of(disk.path, 2) == []


async def test_the_ballast_lets_the_same_group_through(writer: Writer, disk: FullDisk) -> None:
    disk.is_full = disk.gives_room = True
    assert await writer.submit(admission(1)) == 1
    assert (disk.tries, writer.full) == (1, False)


async def test_closing_on_a_full_disk_says_what_was_not_written(
    writer: Writer, disk: FullDisk
) -> None:
    await writer.submit(admission(1))
    disk.is_full = True
    outcomes: list[Outcome] = []
    writer.post(dispatched(1), outcomes.append)
    await until(lambda: writer.full, what="the shortage")
    await writer.close()
    [outcome] = outcomes
    assert isinstance(outcome, LlorchError)
    assert outcome.code is Code.DISK_LOW
    with closing(sqlite3.connect(disk.path)) as connection:
        # The next start checks the file: it was not left in order.
        assert connection.execute("SELECT clean FROM shutdown").fetchone() == (0,)


async def test_a_disk_that_fails_while_writes_wait_ends_the_store(
    writer: Writer, disk: FullDisk
) -> None:
    await writer.submit(admission(1))
    disk.is_full = True
    outcomes: list[Outcome] = []
    writer.post(dispatched(1), outcomes.append)
    await until(lambda: writer.full, what="the shortage")
    disk.errorcode = sqlite3.SQLITE_IOERR_FSYNC
    await until(lambda: writer.failed is not None, what="the failure")
    await until(lambda: len(outcomes) == 1, what="its outcome")
    assert isinstance(outcomes[0], HostError)


async def test_the_store_says_so_to_whoever_admits(tmp_path: Path) -> None:
    options = StoreOptions(full_retry_s=0.005)
    store = await SqliteStore.open(tmp_path / "o.db", options)
    assert store.low_on_space is None
    store._writer.full = True
    assert store.low_on_space is not None
    assert (store.low_on_space.code, store.vitals().full) == (Code.DISK_LOW, True)
    store._writer.full = False
    await store.close()


async def test_vitals_tell_the_log_and_what_waits(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "o.db")
    await store.submit(admission(new_job(1, prompt=LONG)))
    vitals = store.vitals()
    assert vitals.log_bytes > len(LONG)
    assert vitals.free_bytes is not None
    assert (vitals.writes_waiting, vitals.full) == (0, False)
    futures = [store.submit(admission(2)), store.submit(admission(3))]
    assert store.vitals().writes_waiting == 2
    await asyncio.gather(*futures)
    await store.close()


# The ballast


def test_the_ballast_takes_real_blocks_that_nobody_else_reads(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "ballast", 4 << 20)
    assert ballast.missing_bytes == 4 << 20
    assert ballast.make()
    found = (tmp_path / "ballast").stat()
    assert found.st_blocks * 512 >= 4 << 20
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert ballast.missing_bytes == 0


def test_the_ballast_is_given_up_in_two_steps_and_made_anew(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "ballast", 4 << 20)
    ballast.make()
    assert ballast.release()
    assert ballast.missing_bytes == 3 << 20
    assert not ballast.release()
    assert ballast.release_all()
    assert ballast.missing_bytes == 4 << 20
    assert not ballast.release_all()
    assert ballast.make()
    assert ballast.missing_bytes == 0


@pytest.mark.parametrize("wanted_bytes", [0, 1 << 20])
async def test_a_smaller_ballast_gives_back_what_the_larger_one_took(
    tmp_path: Path, wanted_bytes: int
) -> None:
    Ballast(tmp_path / "ballast", 4 << 20).make()
    store = await SqliteStore.open(tmp_path / "o.db", StoreOptions(ballast_bytes=wanted_bytes))
    await store.close()
    assert (tmp_path / "ballast").stat().st_size == wanted_bytes


def test_no_ballast_is_wanted_where_its_size_is_zero(tmp_path: Path) -> None:
    ballast = Ballast(tmp_path / "ballast", 0)
    assert (ballast.missing_bytes, ballast.make(), ballast.release()) == (0, True, False)
    assert not (tmp_path / "ballast").exists()
