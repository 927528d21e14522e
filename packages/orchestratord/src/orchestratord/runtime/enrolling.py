"""Enrols hosts that are reached over SSH, and removes pools of every kind.

Addresses and host keys are checked by their form here; whether they are right, the link finds out.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final

import structlog

from orchestrator_core.clients.ssh.destination import read_destination
from orchestrator_core.clock import Clock
from orchestrator_core.contracts.joining import PoolOrder
from orchestrator_core.contracts.pool import PoolState
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import KeyId, PoolId
from orchestratord.runtime.enrolments import Enrolments
from orchestratord.runtime.joining import POOLS_MAX
from orchestratord.store.rows import PoolRow

__all__ = ["EnrolDesk", "checked_host_keys", "checked_ssh_endpoint"]

_log = structlog.get_logger(__name__)
_SCHEME: Final = "ssh://"
_HOST_KEY: Final = re.compile(r"([a-z0-9@.-]{1,64}) ([A-Za-z0-9+/]{16,2000}={0,2})", re.ASCII)
_KINDS: Final = re.compile(r"ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-[a-z0-9@.-]+")


def checked_ssh_endpoint(text: str) -> str | Refusal:
    """Accept `ssh://[USER@]HOST[:PORT]`, and write it anew."""
    if not text.startswith(_SCHEME):
        shown = ascii(text[:60])
        line = f"endpoint {shown} is not ssh://[USER@]HOST[:PORT]"
        return Refusal(Code.INVALID_REQUEST, line, {"param": "endpoint"})
    found = read_destination(text)
    return found if isinstance(found, Refusal) else found.endpoint


def checked_host_keys(texts: tuple[str, ...]) -> Refusal | None:
    """Accept host keys as known_hosts spells them behind the names: kind and base64, no more."""
    for number, text in enumerate(texts):
        if not _is_host_key(text):
            field = f"host_keys.{number}"
            line = f"{field} is not a host key like `ssh-ed25519 AAAA...`: ask `llorch host trust`"
            return Refusal(Code.INVALID_REQUEST, line, {"param": field})
    return None


def _is_host_key(text: str) -> bool:
    found = _HOST_KEY.fullmatch(text)
    if found is None or not _KINDS.fullmatch(found[1]):
        return False
    try:
        blob = base64.b64decode(found[2], validate=True)
    except binascii.Error:
        return False
    kind = found[1].encode("ascii")
    # The blob names its kind again: a key of another kind under this name is none at all.
    return blob.startswith(len(kind).to_bytes(4, "big") + kind)


class EnrolDesk:
    """Where an administrator enrols and removes hosts."""

    def __init__(
        self,
        *,
        enrolments: Enrolments,
        clock: Clock,
        claim: Callable[[PoolId], Refusal | None],
        forget: Callable[[PoolId], None],
        awaits: Callable[[PoolId], bool],
        status_of: Callable[[PoolId], PoolState | None],
    ) -> None:
        self._enrolments = enrolments
        self._clock = clock
        self._claim = claim
        self._forget = forget
        self._awaits = awaits
        self._status_of = status_of

    async def enrol(self, order: PoolOrder, by: KeyId) -> PoolRow | Refusal:
        """Enrol a host, or take what changed of one: its address, its keys, a fresh token."""
        pool_id = PoolId(order.pool_id)
        endpoint = checked_ssh_endpoint(order.endpoint)
        if isinstance(endpoint, Refusal):
            return endpoint
        refusal = checked_host_keys(order.host_keys) or self._claim(pool_id)
        if refusal is not None:
            return refusal
        older = self._enrolments.row(pool_id)
        if older is None and len(self._enrolments) >= POOLS_MAX:
            line = f"{POOLS_MAX} pools are enrolled, which is the limit: remove some first"
            return Refusal(Code.CONFLICT, line)
        row = PoolRow(
            id=pool_id,
            created_at_ms=self._clock.unix_ms() if older is None else older.created_at_ms,
            endpoint=endpoint,
            daemon_port=order.daemon_port,
            host_keys=order.host_keys,
            join_token=order.token.get_secret_value(),
        )
        await self._enrolments.put(row)
        _log.info("pool.enrolled", pool_id=pool_id, endpoint=endpoint, by=by)
        return row

    async def remove(self, name: str, by: KeyId) -> Refusal | None:
        """Remove a pool; its workers are known no longer, answers in flight go on.

        Of one that has not joined yet there is only the token, which opens nothing from then on.
        """
        pool_id = PoolId(name)
        row, status = self._enrolments.row(pool_id), self._status_of(pool_id)
        if row is None and status is None and not self._awaits(pool_id):
            return Refusal(Code.POOL_NOT_FOUND, f"there is no pool {name}")
        if row is not None and row.declared:
            line = f"pool {name} is declared in orchestrator.toml: take it out there and restart"
            return Refusal(Code.CONFLICT, line)
        if row is None and status not in (None, PoolState.LOST):
            line = f"pool {name} was never enrolled and is here: stop it on its host first"
            return Refusal(Code.CONFLICT, line)
        await self._enrolments.remove(pool_id)
        self._forget(pool_id)
        _log.info("pool.removed", pool_id=pool_id, by=by)
        return None
