"""The id that ties a call, its answer and its log lines together."""

import re
import secrets
from contextvars import ContextVar
from typing import Final

__all__ = ["HEADER", "accept", "current"]

HEADER: Final = "x-correlation-id"

_WELL_FORMED: Final = re.compile(r"[a-zA-Z0-9-]{1,64}")
_current: Final[ContextVar[str | None]] = ContextVar("correlation_id", default=None)


def accept(given: str | None) -> str:
    """Take a caller's well-formed id, or draw one; it holds for the rest of this call."""
    if given is None or not _WELL_FORMED.fullmatch(given):
        given = secrets.token_hex(16)
    _current.set(given)
    return given


def current() -> str | None:
    """The id of the call that is being answered."""
    return _current.get()
