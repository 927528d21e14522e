"""Makes the keys of the first start and fills the key ring from the store.

The admin key and the key of this machine's own pool lie in 0600 files; a file that is gone gets
a new key, because whoever can write the state folder owns the installation anyway.
"""

from pathlib import Path

from orchestrator_core.clock import Clock
from orchestrator_core.config.layout import Layout
from orchestrator_core.idgen import IdSource
from orchestratord.runtime.keyring import (
    KeyRing,
    Principal,
    fresh_key,
    key_hash,
    read_key_file,
    write_key_file,
)
from orchestratord.store.port import JobStore
from orchestratord.store.rows import KeyRow
from orchestratord.store.writes import PutKey

__all__ = ["open_keyring"]


async def open_keyring(
    *, store: JobStore, layout: Layout, clock: Clock, ids: IdSource
) -> tuple[KeyRing, list[Path]]:
    """Load all valid keys; returns the ring and the key files that were written anew."""
    ring = KeyRing()
    now_ms = clock.unix_ms()
    ring.load((row.hash, _principal(row)) for row in await store.keys() if _is_valid(row, now_ms))
    wanted = (
        (layout.admin_key, "admin", "admin"),
        (layout.local_pool_key, "local pool", "pool"),
    )
    written: list[Path] = []
    for path, name, scope in wanted:
        token = read_key_file(path)
        holder = None if token is None else ring.find(token)
        if holder is not None and scope in holder.scopes:
            continue
        token = fresh_key(scope)
        row = KeyRow(
            id=ids.key(), name=name, hash=key_hash(token), scopes=(scope,), created_at_ms=now_ms
        )
        # The file comes second: a key that is in no file is harmless, one in no row is useless.
        await store.submit(PutKey(row))
        write_key_file(path, token)
        ring.add(row.hash, _principal(row))
        written.append(path)
    return ring, written


def _is_valid(row: KeyRow, now_ms: int) -> bool:
    expired = row.expires_at_ms is not None and row.expires_at_ms <= now_ms
    return row.revoked_at_ms is None and not expired


def _principal(row: KeyRow) -> Principal:
    return Principal(row.id, row.name, frozenset(row.scopes))
