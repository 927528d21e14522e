"""Opens what the store knows of enrolled hosts, and applies what orchestrator.toml declares."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog

from orchestrator_core.clock import Clock
from orchestrator_core.errors import Code, HostError, Refusal
from orchestrator_core.idgen import IdSource
from orchestratord.runtime.declared import Declaration, compare, declared_row
from orchestratord.runtime.enrolments import Enrolments, Joining
from orchestratord.runtime.keys.keyring import KeyFault, KeyRing, key_hash
from orchestratord.runtime.stored_pools import StoredPools
from orchestratord.settings import DeclaredPool
from orchestratord.store.port import JobStore
from orchestratord.store.rows import JoinTokenRow, KeyRow, PoolRow

__all__ = ["Enrolled", "open_enrolled"]

_log = structlog.get_logger(__name__)
_FILE_LIMIT_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What a daemon starts with: its hosts, the tokens that may be shown, its own SSH key."""

    enrolments: Enrolments
    tokens: tuple[JoinTokenRow, ...]
    ssh_key: Path


async def open_enrolled(
    *,
    store: JobStore,
    keys: KeyRing,
    clock: Clock,
    ids: IdSource,
    ssh_key: Path,
    declared: tuple[DeclaredPool, ...] = (),
) -> Enrolled:
    """Load all; raises HostError with one line when a declared pool makes no sense."""
    keeping = StoredPools(store=store, keys=keys, clock=clock)
    enrolments = Enrolments(await store.pools(), keeping)
    told = [_read(pool) for pool in declared]
    rows = [_row_of(one, clock.unix_ms()) for one in told]
    changes = compare(rows, enrolments.rows())
    for pool_id in changes.remove:
        await enrolments.remove(pool_id)
        _log.info("pool.undeclared", pool_id=pool_id)
    for pool_id in changes.shadowed:
        reason = "it is enrolled already: the declaration in orchestrator.toml does not count"
        _log.warning("pool.declaration_ignored", pool_id=pool_id, reason=reason)
    for row in changes.put:
        await enrolments.put(row)
    credentials = {one.name: one.credential for one in told}
    for row in enrolments.rows():
        credential = credentials.get(row.id) if row.declared and row.road == "relay" else None
        if credential is not None:
            joining = _joining(row, credential, keys, clock, ids)
            if joining is not None:
                await enrolments.put(replace(row, key_id=joining.key.id), joining)
    return Enrolled(enrolments, tuple(await store.join_tokens()), ssh_key)


def _row_of(told: Declaration, now_ms: int) -> PoolRow:
    row = declared_row(told, now_ms)
    if isinstance(row, Refusal):
        raise HostError(row)
    return row


def _joining(
    row: PoolRow, credential: str, keys: KeyRing, clock: Clock, ids: IdSource
) -> Joining | None:
    """The key of a declared pool's credential file, unless the pool comes in by it already."""
    holder = keys.find(credential)
    if holder is not None:
        if holder.key_id == row.key_id:
            return None
        whose = "somebody else" if holder.pool_id is None else f"pool {holder.pool_id}"
        line = f"pool {row.id}: its credential_file holds a key that belongs to {whose}"
        raise HostError(Refusal(Code.CONFIG_INVALID, line))
    if keys.fault_of(credential) is not KeyFault.UNKNOWN:
        # Whoever revoked it must not find that a restart lets it in again, nor that none starts.
        reason = "its key was revoked here, or ended with an earlier declaration: put a new one "
        reason += "into its credential_file and onto the host"
        _log.warning("pool.credential_revoked", pool_id=row.id, reason=reason)
        return None
    key = KeyRow(
        id=ids.key(),
        name=f"pool {row.id}"[:64],
        hash=key_hash(credential),
        scopes=("pool",),
        created_at_ms=clock.unix_ms(),
        pool_id=row.id,
    )
    return Joining(key)


def _read(pool: DeclaredPool) -> Declaration:
    return Declaration(
        name=pool.name,
        endpoint=pool.endpoint,
        host_keys=pool.host_keys,
        daemon_port=pool.daemon_port,
        certificate=_text_of(pool.name, pool.certificate_file),
        credential=_text_of(pool.name, pool.credential_file),
    )


def _text_of(name: str, path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            text = file.read(_FILE_LIMIT_BYTES + 1).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not plain text"
        line = f"pool {name}: {path} cannot be read: {reason}"
        raise HostError(Refusal(Code.CONFIG_INVALID, line)) from error
    if not text or len(text) > _FILE_LIMIT_BYTES:
        line = f"pool {name}: {path} is empty or longer than {_FILE_LIMIT_BYTES} bytes"
        raise HostError(Refusal(Code.CONFIG_INVALID, line))
    return text
