"""What is left of a drill is read from the database as it is, and its damage is told."""

import contextlib
import sqlite3
from pathlib import Path

import pytest

import orchestratord.store
from support.history import AttemptFact, EventFact, UsageFact
from support.history_aftermath import read_aftermath

MIGRATIONS = Path(orchestratord.store.__file__).parent / "sql" / "migrations"

JOB = """
INSERT INTO jobs (
    id, key_id, model, task, priority, status, attempt, request_hash, seed, spec_json,
    cancel_on_disconnect, created_at_ms, ended_at_ms, tokens_out, output, idempotency_key
) VALUES (
    'job_1', 'key', 'tiny-chat', 'generate', 'batch', 'completed', 1, 'x', 1, '{}',
    0, 1, 2, 3, 'Hello', 'mine'
);
INSERT INTO attempts (job_id, attempt, pool_id, worker_id, status, started_at_ms, ended_at_ms)
VALUES ('job_1', 1, 'home', 'wrk_1', 'ended', 1, 2);
INSERT INTO events (job_id, seq, kind, data) VALUES ('job_1', 1, 'end', '{}');
"""
USAGE = """
INSERT INTO usage (
    job_id, key_id, model, task, status, durable, prompt_tokens, completion_tokens, attempts,
    workers_json, created_at_ms, ended_at_ms
) VALUES ('{job}', 'key', 'tiny-chat', 'generate', 'completed', 1, 5, 3, 1, '[]', 1, 2);
"""


def database(folder: Path, *scripts: str) -> Path:
    """A database of today's schema with these rows."""
    path = folder / "orchestrator.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        for migration in sorted(MIGRATIONS.glob("*.sql")):
            connection.executescript(migration.read_text("utf-8"))
        for script in scripts:
            connection.executescript(script)
    return path


def test_every_row_of_a_job_is_read(tmp_path: Path) -> None:
    aftermath = read_aftermath(database(tmp_path, JOB, USAGE.format(job="job_1")))
    (job,) = aftermath.jobs.values()
    assert (job.id, job.status, job.idempotency_key) == ("job_1", "completed", "mine")
    assert (job.output, job.tokens_out, job.error_code) == ("Hello", 3, None)
    assert job.attempts == (AttemptFact(1, "ended", None, 0, 1, 2),)
    assert job.events == (EventFact(1, "end", "{}"),)
    assert aftermath.usage == [UsageFact("job_1", "completed", 3)]
    assert aftermath.damage == []
    assert aftermath.ends() == {"completed": 1}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (USAGE.format(job="job_2"), ["usage: 1 rows of no job"]),
        (
            "INSERT INTO events (job_id, seq, kind, data) VALUES ('job_2', 1, 'end', '{}')",
            ["events: 1 rows of no job", "foreign key of events"],
        ),
        (
            "DROP INDEX events_terminal;"
            "INSERT INTO events (job_id, seq, kind, data) VALUES ('job_1', 2, 'error', '{}')",
            ["1 jobs with two terminal events"],
        ),
    ],
)
def test_what_the_database_says_against_itself_is_told(
    tmp_path: Path, script: str, said: list[str]
) -> None:
    assert read_aftermath(database(tmp_path, JOB, script)).damage == said
