"""Keeps enrolments in the store, and takes the keys that end by it out of the key ring at once."""

from orchestrator_core.clock import Clock
from orchestrator_core.ids import PoolId
from orchestratord.runtime.enrolments import Joining
from orchestratord.runtime.keys.keyring import KeyRing
from orchestratord.store.port import JobStore
from orchestratord.store.rows import PoolRow
from orchestratord.store.writes import DropPool, PutPool, UseJoinToken

__all__ = ["StoredPools"]


class StoredPools:
    """The place of the enrolments' rows."""

    def __init__(self, *, store: JobStore, keys: KeyRing, clock: Clock) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock

    async def keep(self, row: PoolRow, joining: Joining | None) -> None:
        """Write a row; the pool's older keys end, because it has the one that its row names."""
        at_ms = self._clock.unix_ms()
        key = None if joining is None else joining.key
        token_hash = None if joining is None else joining.token_hash
        if key is None or token_hash is None:
            await self._store.submit(PutPool(pool=row, key=key, at_ms=at_ms))
        else:
            joined = UseJoinToken(token_hash=token_hash, pool=row, key=key, at_ms=at_ms)
            await self._store.submit(joined)
        if key is not None:
            self._keys.add(key)
        self._keys.end_keys_of(row.id, kept=row.key_id, at_ms=at_ms)

    async def forget(self, pool_id: PoolId) -> None:
        """Delete a row, its token, and end its key."""
        at_ms = self._clock.unix_ms()
        await self._store.submit(DropPool(pool_id=pool_id, at_ms=at_ms))
        self._keys.end_keys_of(pool_id, kept=None, at_ms=at_ms)
