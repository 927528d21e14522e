"""The tables of the memory adapter about enrolled hosts: pools and their one-time tokens.

memory_tables hands the writes over; a write is checked in full before the first change.
"""

from collections.abc import Callable
from dataclasses import replace

from orchestrator_core.errors import Code, DataError, Refusal
from orchestrator_core.ids import KeyId, PoolId
from orchestratord.store.port import StaleWriteError
from orchestratord.store.rows import JoinTokenRow, KeyRow, PoolRow
from orchestratord.store.writes import DropPool, PutJoinToken, PutPool, UseJoinToken

__all__ = ["HostTables"]


class HostTables:
    """Rows by the names of their pools; the keys are those of all tables."""

    def __init__(self, keys: dict[KeyId, KeyRow], keep_key: Callable[[KeyRow], None]) -> None:
        self._pools: dict[PoolId, PoolRow] = {}
        self._tokens: dict[PoolId, JoinTokenRow] = {}
        self._keys = keys
        self._keep_key = keep_key

    def pools(self) -> list[PoolRow]:
        """All pools in the order of their names."""
        return [self._pools[name] for name in sorted(self._pools)]

    def join_tokens(self) -> list[JoinTokenRow]:
        """All tokens in the order of the names they are for."""
        return [self._tokens[name] for name in sorted(self._tokens)]

    def put(self, write: PutPool) -> int:
        """Enrol a pool or change it."""
        if write.key is not None:
            self._keep_key(write.key)
        self._pools[write.pool.id] = write.pool
        self._end_other_keys(write.pool.id, write.pool.key_id, write.at_ms)
        return 1

    def drop(self, write: DropPool) -> int:
        """Forget a pool and all that lets it in."""
        self._end_other_keys(write.pool_id, None, write.at_ms)
        self._tokens.pop(write.pool_id, None)
        return 0 if self._pools.pop(write.pool_id, None) is None else 1

    def put_token(self, write: PutJoinToken) -> int:
        """Keep a token."""
        new = write.token
        kept = [
            row
            for row in self._tokens.values()
            if row.expires_at_ms > new.created_at_ms and row.pool_id != new.pool_id
        ]
        if any(row.hash == new.hash for row in kept):
            text = "the store refused a write: a token of this hash exists"
            raise DataError(Refusal(Code.CONFLICT, text))
        self._tokens = {row.pool_id: row for row in (*kept, new)}
        return 1

    def use_token(self, write: UseJoinToken) -> int:
        """Let a host join."""
        pool = write.pool
        token = self._tokens.get(pool.id)
        if (
            token is None
            or token.hash != write.token_hash
            or token.used_at_ms is not None
            or token.expires_at_ms <= write.at_ms
        ):
            text = f"the stored row disagrees: the token of pool {pool.id} is not open any more"
            raise StaleWriteError(Refusal(Code.CONFLICT, text))
        self._keep_key(write.key)
        self._tokens[pool.id] = replace(token, used_at_ms=write.at_ms)
        self._pools[pool.id] = pool
        self._end_other_keys(pool.id, write.key.id, write.at_ms)
        return 1

    def _end_other_keys(self, pool_id: PoolId, kept: KeyId | None, at_ms: int) -> None:
        for key in list(self._keys.values()):
            if key.pool_id == pool_id and key.id != kept and key.revoked_at_ms is None:
                self._keys[key.id] = replace(key, revoked_at_ms=at_ms)
