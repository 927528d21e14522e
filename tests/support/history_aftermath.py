"""Reads what is left of a drill from the database itself, past every line of the product."""

import contextlib
import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

from support.history import Aftermath, AttemptFact, EventFact, JobFact, UsageFact

__all__ = ["read_aftermath"]

_JOBS = "SELECT id, status, idempotency_key, error_code, output, tokens_out FROM jobs"
_ATTEMPTS = """
SELECT job_id, attempt, status, reason, kept_tokens, started_at_ms, ended_at_ms
FROM attempts ORDER BY 1, 2
"""
_EVENTS = "SELECT job_id, seq, kind, data FROM events ORDER BY 1, 2"
_USAGE = "SELECT job_id, status, completion_tokens FROM usage WHERE durable = 1"
_CALLS = "SELECT job_id, status, completion_tokens FROM usage WHERE durable = 0"

_ORPHANS = {
    table: f"SELECT count(*) FROM {table} WHERE job_id NOT IN (SELECT id FROM jobs)"
    for table in ("requests", "attempts", "events")
}
_ORPHANS["usage"] = (
    "SELECT count(*) FROM usage WHERE durable = 1 AND job_id NOT IN (SELECT id FROM jobs)"
)
_SECOND_ENDS = """
SELECT count(*) FROM (
    SELECT job_id FROM events WHERE kind IN ('end', 'error') GROUP BY job_id HAVING count(*) > 1
)
"""


def read_aftermath(database: Path) -> Aftermath:
    """All rows, and what the database says against itself."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        attempts: defaultdict[str, list[AttemptFact]] = defaultdict(list)
        for job_id, *row in connection.execute(_ATTEMPTS):
            attempts[job_id].append(AttemptFact(*row))
        events: defaultdict[str, list[EventFact]] = defaultdict(list)
        for job_id, *row in connection.execute(_EVENTS):
            events[job_id].append(EventFact(*row))
        jobs = {
            row[0]: JobFact(*row, attempts=tuple(attempts[row[0]]), events=tuple(events[row[0]]))
            for row in connection.execute(_JOBS)
        }
        usage = [UsageFact(*row) for row in connection.execute(_USAGE)]
        calls = [UsageFact(*row) for row in connection.execute(_CALLS)]
        return Aftermath(jobs=jobs, usage=usage, call_usage=calls, damage=_damage(connection))


def _damage(connection: sqlite3.Connection) -> list[str]:
    def count(statement: str) -> Any:
        return connection.execute(statement).fetchone()[0]

    found = [str(row[0]) for row in connection.execute("PRAGMA quick_check") if row[0] != "ok"]
    found += [
        f"{table}: {n} rows of no job" for table, sql in _ORPHANS.items() if (n := count(sql))
    ]
    found += [f"foreign key of {row[0]}" for row in connection.execute("PRAGMA foreign_key_check")]
    if seconds := count(_SECOND_ENDS):
        found.append(f"{seconds} jobs with two terminal events")
    return found
