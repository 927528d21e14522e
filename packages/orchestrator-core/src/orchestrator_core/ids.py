"""Names every kind of thing by a typed, prefixed, sortable id.

An id is a prefix, an underscore and a UUIDv7 in 26 characters of Crockford's base32, so that
text order is creation order. This module is pure: idgen supplies the time and the dice.
"""

from typing import Final, NewType

__all__ = [
    "PREFIX_DOWNLOAD",
    "PREFIX_JOB",
    "PREFIX_KEY",
    "PREFIX_SESSION",
    "PREFIX_WORKER",
    "AttemptNo",
    "DownloadId",
    "JobId",
    "KeyId",
    "PoolId",
    "SessionId",
    "WorkerId",
    "compose_uuid7",
    "format_id",
    "is_id",
    "timestamp_ms",
]

DownloadId = NewType("DownloadId", str)
JobId = NewType("JobId", str)
KeyId = NewType("KeyId", str)
PoolId = NewType("PoolId", str)
SessionId = NewType("SessionId", str)
WorkerId = NewType("WorkerId", str)
AttemptNo = NewType("AttemptNo", int)

PREFIX_DOWNLOAD: Final = "dwn"
PREFIX_JOB: Final = "job"
PREFIX_KEY: Final = "key"
PREFIX_SESSION: Final = "ses"
PREFIX_WORKER: Final = "wrk"

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_DIGITS: Final = {symbol: value for value, symbol in enumerate(_ALPHABET)}
_LENGTH: Final = 26
_RANDOM_BITS: Final = 74


def compose_uuid7(unix_ms: int, random_bits: int) -> int:
    """Lay 48 bits of time and 74 random bits out as a version 7 UUID."""
    random_bits &= (1 << _RANDOM_BITS) - 1
    high, low = random_bits >> 62, random_bits & ((1 << 62) - 1)
    return ((unix_ms & ((1 << 48) - 1)) << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low


def format_id(prefix: str, uuid: int) -> str:
    """Render a 128-bit value behind its prefix."""
    symbols = [_ALPHABET[(uuid >> shift) & 31] for shift in range(125, -1, -5)]
    return f"{prefix}_{''.join(symbols)}"


def is_id(prefix: str, text: str) -> bool:
    """Tell whether a text from outside is a well-formed id of this kind."""
    head, _, body = text.partition("_")
    return (
        head == prefix
        and len(body) == _LENGTH
        and body[0] in "01234567"
        and all(symbol in _DIGITS for symbol in body)
    )


def timestamp_ms(identifier: str) -> int:
    """Read back the creation time that a well-formed id carries."""
    value = 0
    for symbol in identifier.partition("_")[2]:
        value = value << 5 | _DIGITS[symbol]
    return value >> 80
