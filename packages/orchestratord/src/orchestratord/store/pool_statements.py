"""The writes about enrolled hosts as SQL: pools, their one-time tokens and the keys they get.

The table of statements.py hands them over inside a transaction.
"""

import json
import sqlite3
from collections.abc import Callable, Mapping

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import KeyId, PoolId
from orchestratord.store.port import StaleWriteError
from orchestratord.store.rows import KeyRow, PoolRow
from orchestratord.store.writes import DropPool, PutJoinToken, PutPool, UseJoinToken

__all__ = ["PoolStatements"]


class PoolStatements:
    """What each write about a host does to the file."""

    def __init__(
        self,
        cursor: sqlite3.Cursor,
        sql: Mapping[str, str],
        insert_key: Callable[[KeyRow], None],
    ) -> None:
        self._cursor = cursor
        self._execute = cursor.execute
        self._sql = sql
        self._insert_key = insert_key

    def put(self, write: PutPool) -> int:
        """Enrol a pool or change it."""
        if write.key is not None:
            self._insert_key(write.key)
        self._insert(write.pool)
        self._end_other_keys(write.pool.id, write.pool.key_id, write.at_ms)
        return 1

    def drop(self, write: DropPool) -> int:
        """Forget a pool and all that lets it in."""
        self._end_other_keys(write.pool_id, None, write.at_ms)
        self._execute(self._sql["drop_join_token"], (write.pool_id,))
        self._execute(self._sql["drop_pool"], (write.pool_id,))
        return self._cursor.rowcount

    def put_token(self, write: PutJoinToken) -> int:
        """Keep a token."""
        token = write.token
        self._execute(self._sql["forget_join_tokens"], (token.created_at_ms,))
        self._execute(
            self._sql["put_join_token"],
            (
                token.pool_id,
                token.hash,
                token.created_at_ms,
                token.expires_at_ms,
                token.used_at_ms,
                token.created_by,
            ),
        )
        return 1

    def use_token(self, write: UseJoinToken) -> int:
        """Let a host join."""
        pool = write.pool
        self._execute(self._sql["use_join_token"], (pool.id, write.token_hash, write.at_ms))
        if self._cursor.rowcount != 1:
            text = f"the stored row disagrees: the token of pool {pool.id} is not open any more"
            raise StaleWriteError(Refusal(Code.CONFLICT, text))
        self._insert_key(write.key)
        self._insert(pool)
        self._end_other_keys(pool.id, write.key.id, write.at_ms)
        return 1

    def _insert(self, pool: PoolRow) -> None:
        self._execute(
            self._sql["put_pool"],
            (
                pool.id,
                pool.created_at_ms,
                pool.endpoint,
                pool.daemon_port,
                json.dumps(pool.host_keys),
                pool.certificate,
                pool.join_token,
                pool.credential,
                pool.key_id,
                pool.declared,
            ),
        )

    def _end_other_keys(self, pool_id: PoolId, kept: KeyId | None, at_ms: int) -> None:
        self._execute(self._sql["end_other_keys"], (pool_id, kept, at_ms))
