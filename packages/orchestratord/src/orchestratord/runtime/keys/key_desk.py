"""Makes and revokes keys: first on disk, then at once for every request.

One change at a time, so that two of them cannot each take the other's last administrator.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from orchestrator_core.clock import Clock
from orchestrator_core.contracts.keys import KeyOrder, KeyScope
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.idgen import IdSource
from orchestrator_core.ids import KeyId
from orchestratord.runtime.keys.keyring import KeyRing, fresh_key, key_hash
from orchestratord.runtime.keys.quotas import Quotas
from orchestratord.store.port import JobStore
from orchestratord.store.rows import KeyRow
from orchestratord.store.writes import PutKey, RevokeKey

__all__ = ["KeyDesk"]

_log = structlog.get_logger(__name__)
_MS: Final = 1000
_KEYS: Final = 10_000
# The widest scope of a key is the one that its text begins with.
_WIDEST_FIRST: Final = (
    KeyScope.ADMIN, KeyScope.OPERATOR, KeyScope.USER, KeyScope.POOL, KeyScope.METRICS,
)  # fmt: skip


class KeyDesk:
    """Where an administrator orders and gives back keys."""

    def __init__(
        self, *, keys: KeyRing, store: JobStore, clock: Clock, ids: IdSource, quotas: Quotas
    ) -> None:
        self._keys = keys
        self._store = store
        self._clock = clock
        self._ids = ids
        self._quotas = quotas
        self._turn = asyncio.Lock()

    async def create(
        self, order: KeyOrder, models: Sequence[str] | None, by: KeyId
    ) -> tuple[KeyRow, str] | Refusal:
        """Make a key for these models; its text is in the answer and nowhere else."""
        async with self._turn:
            if len(self._keys) >= _KEYS:
                text = f"{_KEYS} keys are in use, which is the limit: revoke some first"
                return Refusal(Code.CONFLICT, text)
            scopes = [scope for scope in _WIDEST_FIRST if scope in order.scopes]
            token, now_ms = fresh_key(scopes[0]), self._clock.unix_ms()
            lasts_s = order.expires_in_s
            row = KeyRow(
                id=self._ids.key(),
                name=order.name,
                hash=key_hash(token),
                scopes=tuple(scope.value for scope in scopes),
                created_at_ms=now_ms,
                expires_at_ms=None if lasts_s is None else now_ms + lasts_s * _MS,
                models=None if models is None else tuple(models),
                priority=order.priority,
                weight=order.weight,
                requests_per_minute=order.requests_per_minute,
                concurrent_jobs=order.concurrent_jobs,
            )
            await self._store.submit(PutKey(row))
            self._keys.add(row)
        _log.info("key.created", key_id=row.id, name=row.name, scopes=row.scopes, by=by)
        return row, token

    async def revoke(self, key_id: str, by: KeyId) -> KeyRow | Refusal:
        """End a key; one that was revoked before is shown as it is."""
        async with self._turn:
            row = self._keys.row(key_id)
            if row is None:
                return Refusal(Code.KEY_NOT_FOUND, f"there is no key {key_id}")
            if row.revoked_at_ms is not None:
                return row
            if self._keys.is_last_admin(row.id):
                return Refusal(
                    Code.CONFLICT,
                    "this is the last admin key that does not expire: make another one first, or "
                    "replace it by `llorch keys reset-admin`",
                )
            at_ms = self._clock.unix_ms()
            await self._store.submit(RevokeKey(key_id=row.id, at_ms=at_ms))
            self._keys.revoke(row.id, at_ms)
        self._quotas.forget(row.id)
        _log.info("key.revoked", key_id=row.id, name=row.name, by=by)
        return self._keys.row(key_id) or row
