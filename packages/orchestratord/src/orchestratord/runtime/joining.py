"""One-time tokens: made for an administrator, shown by a host, which becomes a pool by it.

A token's text is in its answer and nowhere else; what is kept is its hash, as with keys.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

import structlog

from orchestrator_core.clients.pins import read_certificate
from orchestrator_core.clock import Clock
from orchestrator_core.contracts.joining import JoinRequest, JoinTokenOrder
from orchestrator_core.contracts.versions import skew_refusal
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.idgen import IdSource
from orchestrator_core.ids import KeyId, PoolId
from orchestratord.runtime.contacts import checked_remote, is_loopback
from orchestratord.runtime.enrolments import Enrolments, Joining
from orchestratord.runtime.keys.keyring import fresh_key, key_hash
from orchestratord.store.port import JobStore, StaleWriteError
from orchestratord.store.rows import JoinTokenRow, KeyRow, PoolRow
from orchestratord.store.writes import PutJoinToken

__all__ = ["POOLS_MAX", "JoinDesk", "NewToken"]

_log = structlog.get_logger(__name__)

POOLS_MAX: Final = 1000
_TOKENS_MAX: Final = 1000
_MS: Final = 1000
_ANEW: Final = "ask an administrator for a new one (llorch host add NAME --join)"


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made, with the text that is shown once."""

    row: JoinTokenRow
    text: str


class JoinDesk:
    """Where tokens are given out and taken back."""

    def __init__(
        self,
        *,
        store: JobStore,
        enrolments: Enrolments,
        tokens: Iterable[JoinTokenRow],
        clock: Clock,
        ids: IdSource,
        version: str,
        claim: Callable[[PoolId], Refusal | None],
    ) -> None:
        self._store = store
        self._enrolments = enrolments
        self._tokens = {row.hash: row for row in tokens}
        self._clock = clock
        self._ids = ids
        self._version = version
        self._claim = claim
        self._turn = asyncio.Lock()

    async def issue(self, order: JoinTokenOrder, by: KeyId) -> NewToken | Refusal:
        """Make a token; an older one for the same name opens nothing from now on."""
        pool_id = PoolId(order.pool_id)
        async with self._turn:
            refusal = self._claim(pool_id) or self._crowded(pool_id)
            if refusal is not None:
                return refusal
            text, now_ms = fresh_key("join"), self._clock.unix_ms()
            row = JoinTokenRow(
                pool_id=pool_id,
                hash=key_hash(text),
                created_at_ms=now_ms,
                expires_at_ms=now_ms + order.expires_in_s * _MS,
                created_by=by,
            )
            await self._store.submit(PutJoinToken(row))
            kept = (
                old
                for old in self._tokens.values()
                if old.pool_id != pool_id and old.expires_at_ms > now_ms
            )
            self._tokens = {old.hash: old for old in (*kept, row)}
        _log.info("join_token.created", pool_id=pool_id, by=by)
        return NewToken(row, text)

    async def join(self, request: JoinRequest, *, is_near: bool) -> str | Refusal:
        """Let the host in that shows an open token; returns the text of its new key.

        is_near: whoever asks is on this machine.
        """
        token_hash = key_hash(request.token.get_secret_value())
        async with self._turn:
            token = self._open_token(token_hash, request.pool_id)
            if isinstance(token, Refusal):
                return token
            row = self._row_for(token.pool_id, request, is_near=is_near)
            if isinstance(row, Refusal):
                return row
            text = fresh_key("pool")
            key = self._key_for(token.pool_id, text)
            try:
                await self._enrolments.put(replace(row, key_id=key.id), Joining(key, token_hash))
            except StaleWriteError:
                return Refusal(Code.BAD_TOKEN, f"this token opens nothing any more: {_ANEW}")
            self._tokens[token_hash] = replace(token, used_at_ms=self._clock.unix_ms())
        _log.info("pool.joined", pool_id=row.id, endpoint=row.endpoint, key_id=key.id)
        return text

    def awaits(self, pool_id: PoolId) -> bool:
        """Tell whether a host can still join by this name."""
        now_ms = self._clock.unix_ms()
        return any(
            row.pool_id == pool_id and _is_open(row, now_ms) for row in self._tokens.values()
        )

    def withdraw(self, pool_id: PoolId) -> None:
        """Forget the token of a pool that was removed; the store has done so already."""
        self._tokens = {row.hash: row for row in self._tokens.values() if row.pool_id != pool_id}

    def _crowded(self, pool_id: PoolId) -> Refusal | None:
        names = {row.id for row in self._enrolments.rows()} | {pool_id}
        if len(names) > POOLS_MAX:
            text = f"{POOLS_MAX} pools are enrolled, which is the limit: remove some first"
            return Refusal(Code.CONFLICT, text)
        now_ms = self._clock.unix_ms()
        others = (row for row in self._tokens.values() if row.pool_id != pool_id)
        if sum(_is_open(row, now_ms) for row in others) >= _TOKENS_MAX:
            text = f"{_TOKENS_MAX} tokens are open, which is the limit: let some be used or run out"
            return Refusal(Code.CONFLICT, text)
        return None

    def _open_token(self, token_hash: str, pool_id: str) -> JoinTokenRow | Refusal:
        token = self._tokens.get(token_hash)
        if token is None:
            return Refusal(Code.BAD_TOKEN, f"this token is not known here: {_ANEW}")
        if token.used_at_ms is not None:
            text = f"this token was used already; if its answer was lost, {_ANEW}"
            return Refusal(Code.BAD_TOKEN, text)
        if token.expires_at_ms <= self._clock.unix_ms():
            return Refusal(Code.BAD_TOKEN, f"this token has run out: {_ANEW}")
        if token.pool_id != pool_id:
            text = (
                f"this token is for the name {token.pool_id}, not for {pool_id}: join by that name"
            )
            return Refusal(Code.BAD_TOKEN, text)
        return token

    def _row_for(
        self, pool_id: PoolId, request: JoinRequest, *, is_near: bool
    ) -> PoolRow | Refusal:
        skew = skew_refusal(self._version, request.version, f"pool {pool_id}")
        if skew is not None:
            return skew
        endpoint = checked_remote(request.endpoint, "endpoint")
        if isinstance(endpoint, Refusal):
            return endpoint
        if not is_near and is_loopback(urlsplit(endpoint).hostname or ""):
            text = f"endpoint {endpoint} means this orchestrator's own machine, and you are on "
            text += "another: bind the pool to an address that this orchestrator reaches"
            return Refusal(Code.INVALID_REQUEST, text, {"param": "endpoint"})
        if request.certificate is None:
            text = "certificate is missing: send what the pool's TLS port shows, in PEM form"
            return Refusal(Code.INVALID_REQUEST, text, {"param": "certificate"})
        certificate = read_certificate(request.certificate)
        if isinstance(certificate, Refusal):
            return certificate
        older = self._enrolments.row(pool_id)
        return PoolRow(
            id=pool_id,
            created_at_ms=self._clock.unix_ms() if older is None else older.created_at_ms,
            endpoint=endpoint,
            certificate=certificate.pem,
        )

    def _key_for(self, pool_id: PoolId, text: str) -> KeyRow:
        return KeyRow(
            id=self._ids.key(),
            name=f"pool {pool_id}"[:64],
            hash=key_hash(text),
            scopes=("pool",),
            created_at_ms=self._clock.unix_ms(),
            pool_id=pool_id,
        )


def _is_open(token: JoinTokenRow, now_ms: int) -> bool:
    return token.used_at_ms is None and token.expires_at_ms > now_ms
