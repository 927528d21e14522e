"""Makes the keys of the first start and fills the key ring from the store.

The admin key and the key of this machine's own pool lie in 0600 files; a file that is gone, or
whose key opens nothing any more, gets a new key, because whoever can write the state folder owns
the installation anyway.
"""

from pathlib import Path

from orchestrator_core.clock import Clock
from orchestrator_core.config.layout import Layout
from orchestrator_core.idgen import IdSource
from orchestratord.runtime.keys.keyring import (
    KeyRing,
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
    """Load all keys; returns the ring and the key files that were written anew."""
    ring = KeyRing(clock)
    ring.load(await store.keys())
    wanted = (
        (layout.admin_key, "admin", "admin"),
        (layout.local_pool_key, "local pool", "pool"),
    )
    written: list[Path] = []
    for path, name, scope in wanted:
        token = read_key_file(path)
        holder = None if token is None else ring.find(token)
        if holder is not None and scope in holder.scopes:
            ring.lies_in(holder.key_id, path)
            continue
        token = fresh_key(scope)
        row = KeyRow(
            id=ids.key(),
            name=name,
            hash=key_hash(token),
            scopes=(scope,),
            created_at_ms=clock.unix_ms(),
        )
        # The file comes second: a key that is in no file is harmless, one in no row is useless.
        await store.submit(PutKey(row))
        write_key_file(path, token)
        ring.add(row)
        ring.lies_in(row.id, path)
        written.append(path)
    ring.take_uses()
    return ring, written
