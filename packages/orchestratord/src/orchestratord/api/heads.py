"""Reads from the head of a request what the checks before any handler need, in one pass; pure.

It tells what was there twice: a proxy and we might not mean the same one of two.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

__all__ = ["Marks"]

_READ: Final = frozenset({b"host", b"origin", b"authorization", b"x-api-key", b"x-correlation-id"})
_NONE: Final = frozenset[bytes]()


@dataclass(slots=True)
class Marks:
    """The fields of a head that say who calls whom."""

    host: str | None
    origin: str | None
    correlation_id: str | None
    token: str | None
    repeated: frozenset[bytes]
    has_two_tokens: bool

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> "Marks":
        """Read them; of a field that is there twice the first one counts."""
        found: dict[bytes, str] = {}
        repeated = _NONE
        for name, value in headers:
            if name in _READ:
                if name in found:
                    repeated |= {name}
                else:
                    found[name] = str(value, "latin-1")
        get = found.get
        bearer, twin = get(b"authorization"), get(b"x-api-key")
        token = twin if bearer is None else _token(bearer)
        two = twin is not None and twin != token
        return cls(get(b"host"), get(b"origin"), get(b"x-correlation-id"), token, repeated, two)


def _token(bearer: str) -> str | None:
    """The one reading of a key in OpenAI's header; Anthropic's clients have another header."""
    kind, _, token = bearer.partition(" ")
    return token.strip() if kind.lower() == "bearer" else None
