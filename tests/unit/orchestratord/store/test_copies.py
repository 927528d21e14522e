"""Whole copies of the database: which files are taken for one, and what lies there afterwards."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator_core.errors import Code, HostError
from orchestratord.store.copies import copy_database, inspect_copy, put_in_place
from orchestratord.store.database import close_database, open_database
from orchestratord.store.queries import load_queries
from orchestratord.store.statements import Statements
from support.stored_jobs import admission, job_id

SQL = load_queries()
DEAD_PID = 4_194_305


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A database with one job that was closed in order."""
    folder = tmp_path / "data"
    folder.mkdir()
    path = folder / "orchestrator.db"
    connection = open_database(path, SQL)
    Statements(connection, SQL).perform(admission(1))
    close_database(connection, SQL)
    return path


def ids_in(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM jobs")]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("version", [0, 1, 2, 77])
def test_a_database_of_another_program_is_told_as_such(tmp_path: Path, version: int) -> None:
    path = tmp_path / "places.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE jobs (name TEXT)")
        connection.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(HostError, match="not a database of this program") as refused:
        inspect_copy(path)
    assert refused.value.code is Code.DATA_CORRUPT


def test_looking_at_a_copy_leaves_nothing_beside_it(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    # It was copied by hand: its header says that it has a log.
    copy = Path(shutil.copy(database, folder / "copy.db"))
    assert inspect_copy(copy).jobs == 1
    copy_database(copy, tmp_path / "restored.db", compact=True)
    assert names_in(folder) == ["copy.db"]
    assert ids_in(tmp_path / "restored.db") == [job_id(1)]


def test_a_copy_by_hand_is_read_with_its_log(database: Path, tmp_path: Path) -> None:
    connection = open_database(database, SQL)
    Statements(connection, SQL).perform(admission(2))
    for tail in ("", "-wal"):
        shutil.copy(f"{database}{tail}", tmp_path / f"copy.db{tail}")
    connection.close()
    assert inspect_copy(tmp_path / "copy.db").jobs == 2


def test_a_copy_takes_away_what_killed_ones_have_left(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup" / "b.db"
    target.parent.mkdir()
    # In a container every program has the same number.
    for pid in (DEAD_PID, os.getpid()):
        for tail in ("", "-journal", "-wal"):
            (target.parent / f".b.db.{pid}.partial{tail}").write_bytes(b"half")
    alive = target.parent / f".b.db.{os.getppid()}.partial"
    alive.write_bytes(b"of somebody who still writes")
    copy_database(database, target)
    assert names_in(target.parent) == [alive.name, "b.db"]


def test_a_database_that_somebody_reads_is_not_replaced(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestratord.store.copies._PATIENCE_S", 0.01)
    copy = tmp_path / "copy.db"
    copy_database(database, copy)
    connection = open_database(database, SQL)
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM jobs").fetchone()
        Statements(connection, SQL).perform(admission(2))
        connection.close()
        with pytest.raises(HostError, match="another process reads") as refused:
            put_in_place(copy, database, tmp_path / "data" / "kept")
    assert refused.value.code is Code.DATA_IN_USE
    assert not (tmp_path / "data" / "kept").exists()
    assert ids_in(database) == [job_id(1), job_id(2)]
