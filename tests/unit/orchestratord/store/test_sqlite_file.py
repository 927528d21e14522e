"""The SQLite file: its mode and settings, what survives a crash, what is refused at opening."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import aiosqlite
import pytest

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.errors import Code, HostError
from orchestratord.store.database import close_database, open_database, reader_address
from orchestratord.store.queries import load_queries
from orchestratord.store.sqlite import SqliteStore
from support.stored_jobs import admission, dispatched, finish, job_id, running

CRASH = """
import asyncio, os, sys
from pathlib import Path
from orchestratord.store.sqlite import SqliteStore
from support.stored_jobs import admission, dispatched

async def main():
    store = await SqliteStore.open(Path(sys.argv[1]))
    await store.submit(admission(1))
    await store.submit(dispatched(1))
    os._exit(7)

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "orchestrator.db"


def prepare(path: Path, content: bytes) -> None:
    """Put a file there that others can read."""
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o644)


def files_of(path: Path) -> dict[str, int]:
    return {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}


def exit_code_of(program: str, path: Path) -> int:
    """Run a program on the file in a process of its own."""
    environment = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    child = [sys.executable, "-c", program, str(path)]
    return subprocess.run(child, env=environment, check=False).returncode


async def spoil(path: Path) -> None:
    """Leave a file behind that was not closed in order and has a damaged page."""
    store = await SqliteStore.open(path)
    for number in range(1, 200):
        await store.submit(admission(number))
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE shutdown SET clean = 0")
        connection.commit()
        sql = "SELECT rootpage FROM sqlite_schema WHERE name = 'events'"
        page = connection.execute(sql).fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096 + 8)
        file.write(b"\xff" * 2048)


@pytest.mark.parametrize("umask", [0o000, 0o077])
async def test_nobody_else_can_read_the_files(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        store = await SqliteStore.open(path)
        await store.submit(admission(1))
        assert files_of(path) == {
            "orchestrator.db": 0o600,
            "orchestrator.db-wal": 0o600,
            "orchestrator.db-shm": 0o600,
        }
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        await store.close()
    finally:
        os.umask(before)


async def test_a_file_that_was_readable_by_others_is_closed_to_them(path: Path) -> None:
    prepare(path, b"")
    await (await SqliteStore.open(path)).close()
    assert files_of(path) == {"orchestrator.db": 0o600}


async def test_the_writer_works_with_the_settings_that_make_a_commit_durable(path: Path) -> None:
    connection = open_database(path, load_queries())
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "secure_delete": 2,
        "fullfsync": 1,
        "checkpoint_fullfsync": 1,
        "busy_timeout": 5000,
        # In memory: the folder for temporary files may lie on the full disk.
        "temp_store": 2,
    }
    found = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}
    close_database(connection, load_queries())
    assert found == wanted


async def test_an_acknowledged_write_survives_the_death_of_the_process(path: Path) -> None:
    assert exit_code_of(CRASH, path) == 7
    store = await SqliteStore.open(path)
    [stored] = await store.restore()
    await store.close()
    assert (stored.job.id, stored.job.status) == (job_id(1), JobStatus.DISPATCHED)


async def test_the_files_of_a_running_store_hold_all_that_was_acknowledged(path: Path) -> None:
    store = await SqliteStore.open(path)
    for number in range(1, 6):
        await store.submit(admission(number))
    copy = path.parent.parent / "copy"
    shutil.copytree(path.parent, copy)
    await store.close()
    restored = await SqliteStore.open(copy / path.name)
    assert len(await restored.restore()) == 5
    await restored.close()


async def test_a_clean_close_leaves_one_file_that_is_marked_so(path: Path) -> None:
    store = await SqliteStore.open(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT clean FROM shutdown").fetchone() == (0,)
    await store.submit(admission(1))
    await store.close()
    assert list(files_of(path)) == ["orchestrator.db"]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT clean FROM shutdown").fetchone() == (1,)


async def test_a_damaged_file_is_refused_after_a_crash(path: Path) -> None:
    await spoil(path)
    with pytest.raises(HostError, match="restore a backup") as refused:
        await SqliteStore.open(path)
    assert refused.value.code is Code.DATA_CORRUPT
    assert "\n" not in str(refused.value)


async def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    prepare(path, b"not a database, " * 1000)
    with pytest.raises(HostError) as refused:
        await SqliteStore.open(path)
    assert refused.value.code is Code.DATA_CORRUPT


async def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    await (await SqliteStore.open(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(HostError, match="newer version"):
        await SqliteStore.open(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (99,)


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostError, match="cannot open the store"):
        await SqliteStore.open(tmp_path / "file" / "orchestrator.db")


async def test_a_reader_cannot_write(path: Path) -> None:
    store = await SqliteStore.open(path)
    async with aiosqlite.connect(reader_address(path), uri=True) as reader:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await reader.execute("DELETE FROM jobs")
    await store.close()


async def test_the_schema_itself_refuses_a_second_terminal_event(path: Path) -> None:
    store = await SqliteStore.open(path)
    await store.submit(admission(1))
    await store.submit(dispatched(1))
    await store.submit(running(1))
    await store.submit(finish(1, attempt=1, seq=3))
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        for statement, reason in {
            f"INSERT INTO events VALUES ('{job_id(1)}', 4, 'error', '')": "UNIQUE",
            "UPDATE jobs SET status = 'queued'": "CHECK",
            "UPDATE jobs SET status = 'lost'": "CHECK",
            "INSERT INTO events VALUES ('nobody', 1, 'queued', '')": "FOREIGN KEY",
        }.items():
            connection.execute("PRAGMA foreign_keys = ON")
            with pytest.raises(sqlite3.IntegrityError, match=reason):
                connection.execute(statement)
            connection.rollback()
