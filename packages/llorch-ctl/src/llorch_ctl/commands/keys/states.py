"""Decides whether a key works at a moment, and which key a person means by a name; pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from orchestrator_core import ids
from orchestrator_core.contracts.keys import KeyView
from orchestrator_core.errors import Code, Refusal

__all__ = ["KeyStatus", "key_status", "named_key"]

KeyStatus = Literal["active", "revoked", "expired"]


def key_status(key: KeyView, now_ms: int) -> KeyStatus:
    """What a key is worth now, by our own clock."""
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "active"
    expires_ms = datetime.fromisoformat(key.expires_at).timestamp() * 1000
    return "expired" if expires_ms <= now_ms else "active"


def named_key(keys: Sequence[KeyView], word: str, now_ms: int) -> KeyView | Refusal:
    """The key of this id or name; a name that several working keys share names none."""
    if ids.is_id(ids.PREFIX_KEY, word):
        found = [key for key in keys if key.id == word]
    else:
        found = [key for key in keys if key.name == word]
    if not found:
        text = f'there is no key "{word}": llorch keys list --all shows every key'
        return Refusal(Code.KEY_NOT_FOUND, text)
    working = [key for key in found if key_status(key, now_ms) == "active"]
    if len(working) > 1:
        listed = ", ".join(key.id for key in working)
        return Refusal(
            Code.CONFLICT, f'{len(working)} keys are called "{word}": name one of {listed}'
        )
    return (working or found)[-1]
