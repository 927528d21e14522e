"""Who may call: API keys by their hash, held in memory, and the key files of the first start.

Keys carry 256 random bits, so a plain SHA-256 is a safe way to keep them. Their text is written
once to a 0600 file of the state folder and is never stored elsewhere.
"""

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator_core.ids import KeyId
from orchestrator_core.platforms import files

__all__ = ["KeyRing", "Principal", "fresh_key", "key_hash", "read_key_file", "write_key_file"]

_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Principal:
    """The holder of a key."""

    key_id: KeyId
    name: str
    scopes: frozenset[str]

    @property
    def sees_all(self) -> bool:
        """True for those who may see other people's jobs."""
        return bool(self.scopes & {"admin", "operator"})


class KeyRing:
    """All keys that are valid now."""

    def __init__(self) -> None:
        self._holders: dict[str, Principal] = {}

    def __len__(self) -> int:
        return len(self._holders)

    def load(self, keys: Iterable[tuple[str, Principal]]) -> None:
        """Replace everything by (hash, holder) pairs."""
        self._holders = dict(keys)

    def add(self, digest: str, holder: Principal) -> None:
        """Let one more key in."""
        self._holders[digest] = holder

    def find(self, token: str) -> Principal | None:
        """Look the bearer up; the full hash is the key of the table, so two never alias."""
        return self._holders.get(key_hash(token))


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
