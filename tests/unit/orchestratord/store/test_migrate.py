"""Schema steps: forward, whole or not at all, never backward."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from orchestrator_core.errors import Code, HostError
from orchestratord.store.migrate import Migration, apply_step, load_migrations, missing_steps

ONE = Migration(1, "CREATE TABLE a (x INTEGER) STRICT; INSERT INTO a VALUES (7);")
TWO = Migration(2, "ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 3;")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        yield connection


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_an_older_schema_is_brought_forward_with_its_rows(connection: sqlite3.Connection) -> None:
    for step in missing_steps(connection, [ONE]):
        apply_step(connection, step)
    for step in missing_steps(connection, [ONE, TWO]):
        apply_step(connection, step)
    assert version(connection) == 2
    assert connection.execute("SELECT x, y FROM a").fetchall() == [(7, 3)]
    assert missing_steps(connection, [ONE, TWO]) == []


def test_a_step_that_fails_leaves_the_schema_as_it_was(connection: sqlite3.Connection) -> None:
    bad = Migration(1, "CREATE TABLE a (x INTEGER); CREATE TABLE a (x INTEGER);")
    with pytest.raises(sqlite3.OperationalError):
        apply_step(connection, bad)
    assert (version(connection), connection.in_transaction) == (0, False)
    assert connection.execute("SELECT * FROM sqlite_schema").fetchall() == []


def test_a_newer_schema_is_refused_in_one_line(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA user_version = 9")
    with pytest.raises(HostError, match="newer version") as refused:
        missing_steps(connection, [ONE, TWO])
    assert refused.value.code is Code.CONFIG_INVALID
    assert "\n" not in str(refused.value)


def test_packaged_steps_are_numbered_without_a_gap() -> None:
    numbers = [step.number for step in load_migrations()]
    assert numbers == list(range(1, len(numbers) + 1))
