"""A file that the first version of the schema wrote, opened by this program."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator_core.contracts.tasks import JobStatus, Priority
from orchestrator_core.ids import KeyId, PoolId
from orchestratord.store.migrate import apply_step, load_migrations
from orchestratord.store.rows import PoolRow
from orchestratord.store.sqlite import SqliteStore
from orchestratord.store.writes import PutPool, Strip
from support.stored_jobs import KEY, admission, apply, finish, job_id

FIRST_VERSION = """
INSERT INTO jobs (
    id, key_id, model, task, priority, status, attempt, request_hash, seed, spec_json,
    cancel_on_disconnect, created_at_ms, started_at_ms, ended_at_ms, output
) VALUES
    ('job_00000000000000000000000001', 'key_00000000000000000000000001', 'tiny-chat', 'generate',
     'interactive', 'running', 1, 'hash', 7, '{}', 0, 1000, 2000, NULL, NULL),
    ('job_00000000000000000000000002', 'key_00000000000000000000000001', 'tiny-chat', 'generate',
     'batch', 'completed', 0, 'hash', 7, '{}', 0, 1000, NULL, 5000, 'Hello!');
INSERT INTO requests VALUES ('job_00000000000000000000000001', '{"prompt":"Hello"}');
INSERT INTO attempts (job_id, attempt, pool_id, worker_id, status, started_at_ms)
VALUES ('job_00000000000000000000000001', 1, 'home', 'wrk_a', 'running', 2000);
INSERT INTO events VALUES
    ('job_00000000000000000000000001', 1, 'queued', '{}'),
    ('job_00000000000000000000000001', 2, 'started', '{}'),
    ('job_00000000000000000000000001', 3, 'token', '{"t":"x","i":0,"n":4}'),
    ('job_00000000000000000000000002', 1, 'queued', '{}'),
    ('job_00000000000000000000000002', 2, 'end', '{}');
INSERT INTO keys VALUES
    ('key_00000000000000000000000001', 'admin', 'h1', '["admin"]', 1, NULL, NULL);
UPDATE shutdown SET clean = 0;
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with jobs in it, made by the first schema step alone and left by a crash."""
    path = tmp_path / "orchestrator.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        apply_step(connection, load_migrations()[0])
        connection.executescript(FIRST_VERSION)
    return path


async def test_a_file_of_the_first_version_keeps_its_jobs_and_keys(path: Path) -> None:
    store = await SqliteStore.open(path)
    [stored] = await store.restore()
    assert (stored.job.id, stored.job.status) == (job_id(1), JobStatus.RUNNING)
    assert (stored.last_seq, stored.tokens_committed) == (3, 4)
    assert (stored.job.weight, stored.job.idempotency_key) == (1, None)
    assert stored.job.request_json == '{"prompt":"Hello"}'
    [attempt] = await store.attempts(job_id(1))
    assert attempt.kept_tokens == 0
    [key] = await store.keys()
    assert (key.id, key.models, key.priority, key.weight) == (KEY, None, Priority.INTERACTIVE, 1)
    await store.close()


async def test_jobs_of_the_first_version_take_part_in_all_that_is_new(path: Path) -> None:
    store = await SqliteStore.open(path)
    assert await apply(store, Strip(before_ms=6000, limit=9)) == [1]
    old = await store.job(job_id(2), KeyId(KEY))
    assert old is not None
    assert (old.status, old.output) == (JobStatus.COMPLETED, None)
    assert await apply(store, admission(3), finish(3)) == [1, 1]
    assert await apply(store, finish(1, attempt=1, seq=4)) == [1]
    await store.close()


async def test_a_file_of_the_first_version_takes_hosts(path: Path) -> None:
    store = await SqliteStore.open(path)
    assert (await store.pools(), await store.join_tokens()) == ([], [])
    [key] = await store.keys()
    assert key.pool_id is None
    row = PoolRow(id=PoolId("mac"), created_at_ms=1, endpoint="ssh://mac")
    await apply(store, PutPool(pool=row, at_ms=2))
    assert await store.pools() == [row]
    # A key that belongs to no host is none of its business.
    assert [key.revoked_at_ms for key in await store.keys()] == [None]
    await store.close()


async def test_an_upgraded_file_is_whole(path: Path) -> None:
    await (await SqliteStore.open(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        newest = load_migrations()[-1].number
        assert connection.execute("PRAGMA user_version").fetchone() == (newest,)
