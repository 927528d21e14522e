"""The keys that open the API: the operator's file and the orchestrator session's own key.

The control key is drawn anew for each session, so that an orchestrator that lost the session
also loses the pool.
"""

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


class Keyring:
    """Tells callers apart by their key."""

    def __init__(self, operator_key: str) -> None:
        self._operator = operator_key.encode()
        self._offered: bytes | None = None
        self._settled: bytes | None = None

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
        return Caller.ORCHESTRATOR if is_control else None


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
