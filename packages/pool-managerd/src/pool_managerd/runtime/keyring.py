"""The keys that open the API: the operator's file, the session's own, a join's and the peers'.

The control key is drawn anew for each session, so that an orchestrator that lost the session
also loses the pool. Of the credential of a join only the hash is known here.
"""

import hashlib
import hmac
import secrets
from enum import StrEnum
from pathlib import Path

from orchestrator_core.platforms import files

__all__ = ["Caller", "Keyring", "read_or_create_key"]

_KEY_BYTES = 32


class Caller(StrEnum):
    """Whose key was shown."""

    OPERATOR = "operator"
    ORCHESTRATOR = "orchestrator"
    JOINED = "joined"
    PEER = "peer"


class Keyring:
    """Tells callers apart by their key."""

    def __init__(self, operator_key: str) -> None:
        self._operator = operator_key.encode()
        self._offered: bytes | None = None
        self._settled: bytes | None = None
        self._joined_sha256 = ""
        self._peer: bytes | None = None

    def admit_joined(self, sha256: str) -> None:
        """Let in whoever holds the credential with this hash, and no earlier one."""
        self._joined_sha256 = sha256

    def admit_peers(self, key: str | None) -> None:
        """Let other pools in by this key; None lets none in."""
        self._peer = None if key is None else key.encode()

    def offer(self) -> str:
        """Draw the control key of a session that is about to begin.

        It opens the API at once, since an order may arrive before the answer to the
        registration; the key of the session before stays good until `settle`.
        """
        key = secrets.token_hex(_KEY_BYTES)
        self._offered = key.encode()
        return key

    def settle(self) -> None:
        """Drop the key of the session before: the offered one was accepted."""
        self._settled, self._offered = self._offered, None

    def identify(self, presented: str) -> Caller | None:
        """Compare with every key in constant time."""
        shown = presented.encode()
        control = [key for key in (self._offered, self._settled) if key is not None]
        is_control = sum(hmac.compare_digest(shown, key) for key in control)
        is_operator = hmac.compare_digest(shown, self._operator)
        if is_operator:
            return Caller.OPERATOR
        if is_control:
            return Caller.ORCHESTRATOR
        if hmac.compare_digest(hashlib.sha256(shown).hexdigest(), self._joined_sha256):
            return Caller.JOINED
        if self._peer is not None and hmac.compare_digest(shown, self._peer):
            return Caller.PEER
        return None


def read_or_create_key(path: Path) -> str:
    """Read the operator's key, or make one that only this user can read."""
    try:
        key = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        key = ""
    if key:
        path.chmod(0o600)
        return key
    key = secrets.token_hex(_KEY_BYTES)
    files.write_atomically(path, f"{key}\n".encode(), mode=0o600)
    return key
