"""Who may call: API keys by their hash, held in memory, and the key files of the first start.

Keys carry 256 random bits, so a plain SHA-256 is a safe way to keep them. Their text is written
once to a 0600 file of the state folder or shown once, and is never stored elsewhere.
"""

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from orchestrator_core.clock import Clock
from orchestrator_core.contracts.tasks import Priority
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import KeyId, PoolId
from orchestrator_core.platforms import files
from orchestratord.store.rows import KeyRow

__all__ = [
    "KEY_ENDED",
    "KeyFault",
    "KeyRing",
    "Principal",
    "fresh_key",
    "key_hash",
    "read_key_file",
    "write_key_file",
]

KEY_ENDED: Final = Refusal(
    Code.BAD_KEY, "this key was revoked or has expired: ask an administrator for a new one"
)
"""For a key that was valid when a request began; its client has taken its time with the body."""

_BYTES: Final = 32
_ADMIN: Final = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a key, and what the key allows; no models means all of them.

    pool_id is the one pool whose session the key opens.
    """

    key_id: KeyId
    name: str
    scopes: frozenset[str]
    models: frozenset[str] | None = None
    priority: Priority = Priority.INTERACTIVE
    weight: int = 1
    requests_per_minute: int | None = None
    concurrent_jobs: int | None = None
    expires_at_ms: int | None = None
    pool_id: PoolId | None = None

    @property
    def sees_all(self) -> bool:
        """True for those who may see other people's jobs."""
        return bool(self.scopes & {"admin", "operator"})

    def may_use(self, model_id: str) -> bool:
        """True for a model that this key may ask, by the id that the catalogue gives it."""
        return self.models is None or model_id in self.models


class KeyFault(StrEnum):
    """Why a key that somebody showed opens nothing."""

    UNKNOWN = "unknown"
    REVOKED = "revoked"
    EXPIRED = "expired"


class KeyRing:
    """All keys by their hash; whether one is valid is judged anew each time it is shown."""

    def __init__(self, clock: Clock) -> None:
        self._unix_ms = clock.unix_ms
        self._rows: dict[KeyId, KeyRow] = {}
        self._holders: dict[str, Principal] = {}
        self._held: dict[KeyId, Principal] = {}
        self._used: dict[KeyId, int] = {}
        self._files: dict[KeyId, Path] = {}
        self._revoked: set[str] = set()

    def __len__(self) -> int:
        """How many keys have not been revoked."""
        return len(self._holders)

    def load(self, rows: Iterable[KeyRow]) -> None:
        """Replace everything by what the store holds."""
        self._rows, self._holders, self._held, self._used = {}, {}, {}, {}
        self._revoked = set()
        for row in rows:
            self.add(row)

    def add(self, row: KeyRow) -> None:
        """Take one more key; a revoked one is only remembered."""
        self._rows[row.id] = row
        if row.revoked_at_ms is None:
            self._holders[row.hash] = self._held[row.id] = _principal(row)
        else:
            self._revoked.add(row.hash)

    def revoke(self, key_id: KeyId, at_ms: int) -> None:
        """Let nobody in by this key any more."""
        row = self._rows[key_id]
        if row.revoked_at_ms is None:
            self._rows[key_id] = replace(row, revoked_at_ms=at_ms)
            self._holders.pop(row.hash, None)
            self._held.pop(key_id, None)
            self._revoked.add(row.hash)

    def end_keys_of(self, pool_id: PoolId, *, kept: KeyId | None, at_ms: int) -> None:
        """Let a pool in by this one of its keys only, or by none any more."""
        for row in list(self._rows.values()):
            if row.pool_id == pool_id and row.id != kept:
                self.revoke(row.id, at_ms)

    def find(self, token: str) -> Principal | None:
        """Look the bearer up; the full hash is the key of the table, so two never alias."""
        holder = self._holders.get(key_hash(token))
        if holder is None:
            return None
        now_ms = self._unix_ms()
        if holder.expires_at_ms is not None and holder.expires_at_ms <= now_ms:
            return None
        self._used[holder.key_id] = now_ms
        return holder

    def fault_of(self, token: str) -> KeyFault:
        """Why a token that `find` did not know opens nothing."""
        digest = key_hash(token)
        if digest in self._holders:
            return KeyFault.EXPIRED
        return KeyFault.REVOKED if digest in self._revoked else KeyFault.UNKNOWN

    def holds(self, key_id: KeyId) -> bool:
        """True while a key is valid: one that was revoked or has expired is not."""
        holder = self._held.get(key_id)
        if holder is None:
            return False
        return holder.expires_at_ms is None or holder.expires_at_ms > self._unix_ms()

    def row(self, key_id: str) -> KeyRow | None:
        """A key as it is now, whether it still opens anything or not."""
        row = self._rows.get(KeyId(key_id))
        return None if row is None else self._as_used(row)

    def rows(self) -> list[KeyRow]:
        """All keys in the order of their making."""
        return [self._as_used(row) for row in self._rows.values()]

    def names(self) -> Mapping[KeyId, str]:
        """The name of every key."""
        return {row.id: row.name for row in self._rows.values()}

    def is_last_admin(self, key_id: KeyId) -> bool:
        """True when nobody could administer for good once this key is gone."""
        row = self._rows[key_id]
        return self._administers(row) and not any(
            self._administers(other) for other in self._rows.values() if other.id != key_id
        )

    def lies_in(self, key_id: KeyId, path: Path) -> None:
        """Remember the file that holds the text of a key."""
        self._files[key_id] = path

    def file_of(self, key_id: KeyId) -> Path | None:
        """The file that holds the text of a key, if we wrote or read one."""
        return self._files.get(key_id)

    def take_uses(self) -> dict[KeyId, int]:
        """When keys were used since this was asked last."""
        used, self._used = self._used, {}
        for key_id, at_ms in used.items():
            self._rows[key_id] = replace(self._rows[key_id], last_used_at_ms=at_ms)
        return used

    def _as_used(self, row: KeyRow) -> KeyRow:
        at_ms = self._used.get(row.id)
        return row if at_ms is None else replace(row, last_used_at_ms=at_ms)

    @staticmethod
    def _administers(row: KeyRow) -> bool:
        # A key that expires does not count: with it alone the last door would close by itself.
        return _ADMIN in row.scopes and row.revoked_at_ms is None and row.expires_at_ms is None


def _principal(row: KeyRow) -> Principal:
    return Principal(
        key_id=row.id,
        name=row.name,
        scopes=frozenset(row.scopes),
        models=None if row.models is None else frozenset(row.models),
        priority=row.priority,
        weight=row.weight,
        requests_per_minute=row.requests_per_minute,
        concurrent_jobs=row.concurrent_jobs,
        expires_at_ms=row.expires_at_ms,
        pool_id=row.pool_id,
    )


def fresh_key(kind: str) -> str:
    """Draw the text of a new key."""
    return f"llo_{kind}_{secrets.token_urlsafe(_BYTES)}"


def key_hash(token: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def read_key_file(path: Path) -> str | None:
    """The key that lies in a file, if any does."""
    try:
        return path.read_text(encoding="ascii").strip() or None
    except (FileNotFoundError, UnicodeDecodeError):
        return None


def write_key_file(path: Path, token: str) -> None:
    """Put a key where only its owner can read it."""
    files.write_atomically(path, token.encode() + b"\n", mode=0o600)
