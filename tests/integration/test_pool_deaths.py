"""Joins, enrolments and removals whose process is killed at any statement: whole or not at all."""

import contextlib
import os
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Lock

import pytest

from orchestrator_core.ids import KeyId, PoolId
from orchestratord.store.database import close_database, open_database
from orchestratord.store.groups import GroupCommit
from orchestratord.store.queries import load_queries
from orchestratord.store.rows import JoinTokenRow, KeyRow, PoolRow
from orchestratord.store.statements import Statements
from orchestratord.store.writes import (
    DropPool,
    PutJoinToken,
    PutKey,
    PutPool,
    UseJoinToken,
    Write,
)
from support.deaths import in_a_child

MAC = PoolId("mac")
OLD, NEW = KeyId("key_old"), KeyId("key_new")
ADMIN = KeyId("key_admin")
BEFORE = PoolRow(id=MAC, created_at_ms=1, endpoint="https://10.0.0.7:9200", key_id=OLD)
TOKEN = JoinTokenRow(pool_id=MAC, hash="t1", created_at_ms=1, expires_at_ms=9_000, created_by=ADMIN)
State = tuple[list[object], ...]


def key_of(key_id: KeyId, hash_: str) -> KeyRow:
    return KeyRow(
        id=key_id, name="pool", hash=hash_, scopes=("pool",), created_at_ms=1, pool_id=MAC
    )


ACTS: dict[str, Write] = {
    "join": UseJoinToken(
        token_hash="t1",
        pool=replace(BEFORE, endpoint="https://10.0.0.9:9200", key_id=NEW),
        key=key_of(NEW, "new"),
        at_ms=5,
    ),
    "enrol": PutPool(
        pool=PoolRow(id=MAC, created_at_ms=1, endpoint="ssh://mac", join_token="one-time"),
        at_ms=5,
    ),
    "declare": PutPool(pool=replace(BEFORE, key_id=NEW), key=key_of(NEW, "new"), at_ms=5),
    "remove": DropPool(pool_id=MAC, at_ms=5),
}


def furnish(path: Path) -> None:
    connection = open_database(path, load_queries())
    statements = Statements(connection, load_queries())
    for write in (PutKey(key_of(OLD, "old")), PutPool(pool=BEFORE, at_ms=1), PutJoinToken(TOKEN)):
        statements.perform(write)
    close_database(connection, load_queries())


def commit(path: Path, write: Write, before: Callable[[str], None] = lambda _: None) -> int:
    """Do it as the writer does; `before` hears of each statement that is about to run."""
    connection = open_database(path, load_queries())
    connection.set_trace_callback(before)
    turn = Lock()
    with turn:
        GroupCommit(connection, Statements(connection, load_queries()), turn).commit([write])
    connection.set_trace_callback(None)
    close_database(connection, load_queries())
    return 0


def die_in_front_of(number: int) -> Callable[[str], None]:
    count = 0

    def heard(_statement: str) -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    return heard


def state_of(path: Path) -> State:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        asked = (
            "SELECT id, endpoint, key_id, join_token FROM pools",
            "SELECT pool_id, hash, used_at_ms FROM join_tokens",
            "SELECT id, revoked_at_ms FROM keys ORDER BY id",
        )
        return tuple(list(connection.execute(sql)) for sql in asked)


@pytest.mark.parametrize("act", ACTS)
def test_whoever_is_killed_in_the_middle_has_done_all_of_it_or_nothing(
    act: str, tmp_path: Path
) -> None:
    whole = tmp_path / "whole.db"
    furnish(whole)
    nothing = state_of(whole)
    statements: list[str] = []
    commit(whole, ACTS[act], statements.append)
    done = state_of(whole)
    assert done != nothing
    assert len(statements) >= 4
    for number in range(1, len(statements) + 1):
        path = tmp_path / f"{number}.db"
        furnish(path)
        ended = in_a_child(lambda at=number, db=path: commit(db, ACTS[act], die_in_front_of(at)))
        assert ended == -signal.SIGKILL
        assert state_of(path) == nothing, statements[number - 1]
        # What was not done can be done again.
        commit(path, ACTS[act])
        assert state_of(path) == done
