"""Brings the pools that orchestrator.toml declares in line with those that are enrolled; pure.

The files that a declaration names are read by whoever calls; a pool that was enrolled by a person
wins over a declaration of the same name.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from orchestrator_core.clients.pins import read_certificate
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import PoolId
from orchestratord.runtime.contacts import checked_remote
from orchestratord.runtime.enrolling import checked_host_keys, checked_ssh_endpoint
from orchestratord.runtime.enrolments import RESERVED_NAMES
from orchestratord.store.rows import PoolRow

__all__ = ["Changes", "Declaration", "compare", "declared_row"]


# What a person can guess opens no pool, and what fits into no header opens nothing.
_CREDENTIAL: Final = re.compile(r"[\x21-\x7e]{16,512}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A pool as the file declares it, with what its own files hold.

    credential is what opens an ssh:// pool to us, or the key by which an https:// one comes to us.
    """

    name: str
    endpoint: str
    host_keys: tuple[str, ...] = ()
    daemon_port: int = 9200
    certificate: str | None = None
    credential: str | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Changes:
    """What has to be written, and what an operator should know."""

    put: tuple[PoolRow, ...] = ()
    remove: tuple[PoolId, ...] = ()
    shadowed: tuple[PoolId, ...] = ()


def declared_row(told: Declaration, now_ms: int) -> PoolRow | Refusal:
    """Turn a declaration into a row, or say what is wrong with it."""
    row = _ill_named(told) or _unfit_credential(told)
    if row is None:
        is_ssh = told.endpoint.startswith("ssh:")
        row = _ssh_row(told, now_ms) if is_ssh else _https_row(told, now_ms)
    if isinstance(row, Refusal):
        return Refusal(Code.CONFIG_INVALID, f"pool {told.name}: {row.message}")
    return row


def compare(declared: Sequence[PoolRow], enrolled: Sequence[PoolRow]) -> Changes:
    """Say which rows differ from what is declared now."""
    known = {row.id: row for row in enrolled}
    names = {row.id for row in declared}
    put: list[PoolRow] = []
    shadowed: list[PoolId] = []
    for row in declared:
        older = known.get(row.id)
        if older is not None and not older.declared:
            shadowed.append(row.id)
            continue
        new = row if older is None else _with_what_was_learnt(row, older)
        if new != older:
            put.append(new)
    gone = tuple(row.id for row in enrolled if row.declared and row.id not in names)
    return Changes(tuple(put), gone, tuple(shadowed))


def _with_what_was_learnt(row: PoolRow, older: PoolRow) -> PoolRow:
    """A declaration without a credential keeps the one that the pool has given meanwhile."""
    keeps = row.road == "ssh" and row.credential is None and older.endpoint == row.endpoint
    return replace(
        row,
        created_at_ms=older.created_at_ms,
        credential=older.credential if keeps else row.credential,
        key_id=older.key_id if row.road == "relay" else None,
    )


def _ill_named(told: Declaration) -> Refusal | None:
    if told.name not in RESERVED_NAMES:
        return None
    return Refusal(Code.CONFIG_INVALID, "no pool can have this name: take another")


def _unfit_credential(told: Declaration) -> Refusal | None:
    if told.credential is None or _CREDENTIAL.fullmatch(told.credential):
        return None
    line = "its credential_file must hold one key of 16 to 512 characters, without blanks"
    return Refusal(Code.CONFIG_INVALID, line)


def _ssh_row(told: Declaration, now_ms: int) -> PoolRow | Refusal:
    endpoint = checked_ssh_endpoint(told.endpoint)
    if isinstance(endpoint, Refusal):
        return endpoint
    if not told.host_keys:
        line = "host_keys is empty: put what `llorch host trust` shows there"
        return Refusal(Code.CONFIG_INVALID, line)
    refusal = checked_host_keys(told.host_keys)
    if refusal is not None:
        return refusal
    return PoolRow(
        id=PoolId(told.name),
        created_at_ms=now_ms,
        endpoint=endpoint,
        daemon_port=told.daemon_port,
        host_keys=told.host_keys,
        credential=told.credential,
        declared=True,
    )


def _https_row(told: Declaration, now_ms: int) -> PoolRow | Refusal:
    endpoint = checked_remote(told.endpoint, "endpoint")
    if isinstance(endpoint, Refusal):
        return endpoint
    if told.certificate is None or told.credential is None:
        line = "an https:// endpoint needs certificate_file and credential_file"
        return Refusal(Code.CONFIG_INVALID, line)
    certificate = read_certificate(told.certificate)
    if isinstance(certificate, Refusal):
        return certificate
    return PoolRow(
        id=PoolId(told.name),
        created_at_ms=now_ms,
        endpoint=endpoint,
        certificate=certificate.pem,
        declared=True,
    )
