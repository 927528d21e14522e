"""The statements: found by name, and the plans that keep them fast."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from orchestratord.store.migrate import apply_step, load_migrations
from orchestratord.store.queries import load_queries, parse_queries


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for step in load_migrations():
            apply_step(connection, step)
        yield connection


def nothing(sql: str) -> list[None]:
    """A NULL for every parameter of a statement."""
    return [None] * max((int(number) for number in re.findall(r"\?(\d+)", sql)), default=0)


def test_statements_are_named_by_their_headers() -> None:
    text = "-- A file.\n\n-- name: one\nSELECT 1;\n\n-- Why.\n-- name: two\nSELECT\n    2;\n"
    assert parse_queries(text) == {"one": "SELECT 1", "two": "SELECT 2"}


def test_every_statement_is_valid_for_the_schema(connection: sqlite3.Connection) -> None:
    for sql in load_queries().values():
        connection.execute(f"EXPLAIN {sql}", nothing(sql))


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("restore", "jobs_active"),
        ("list_active_jobs", "jobs_active"),
        ("purge", "jobs_ended"),
        ("counts", "COVERING INDEX jobs_ended"),
        ("job_of", "jobs_idempotency (key_id=? AND idempotency_key=?)"),
        ("jobs_to_strip", "jobs_unstripped"),
        ("purge_usage", "usage USING PRIMARY KEY"),
        ("usage_totals", "COVERING INDEX usage_totals"),
        ("usage_totals_of", "COVERING INDEX usage_totals (key_id=?)"),
        ("list_jobs", "jobs USING PRIMARY KEY"),
        ("events_after", "events USING PRIMARY KEY"),
    ],
)
def test_no_statement_scans_more_than_it_must(
    connection: sqlite3.Connection, name: str, index: str
) -> None:
    sql = load_queries()[name]
    plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", nothing(sql)).fetchall()
    assert index in "\n".join(row[3] for row in plan)


def test_a_restart_sorts_nothing_for_which_the_full_disk_has_no_room(
    connection: sqlite3.Connection,
) -> None:
    sql = load_queries()["restore"]
    plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", nothing(sql)).fetchall()
    assert "TEMP B-TREE" not in "\n".join(row[3] for row in plan)
