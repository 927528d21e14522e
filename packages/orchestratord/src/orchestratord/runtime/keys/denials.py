"""Counts the callers that were turned away, and slows down who keeps guessing keys.

A right key passes from any address: only wrong ones are counted, so nobody can lock others out.
"""

import ipaddress
import math
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import structlog
from prometheus_client import CollectorRegistry, Counter

from orchestrator_core.errors import Code, Refusal
from orchestratord.runtime.keys.keyring import KeyFault
from orchestratord.runtime.keys.token_buckets import TokenBuckets

__all__ = ["Denials", "Reason"]

_log = structlog.get_logger(__name__)
_ADDRESSES: Final = 4096


class Reason(StrEnum):
    """Why a caller was turned away, as the metric names it."""

    NO_KEY = "no_key"
    TWO_KEYS = "two_keys"
    UNKNOWN = KeyFault.UNKNOWN
    REVOKED = KeyFault.REVOKED
    EXPIRED = KeyFault.EXPIRED
    SCOPE = "scope"
    TOKEN = "token"  # noqa: S105 - a reason, not a secret.


_GUESSES: Final = frozenset(
    {Reason.UNKNOWN, Reason.REVOKED, Reason.EXPIRED, Reason.TWO_KEYS, Reason.TOKEN}
)


def _site_of(address: str) -> str:
    """Who is counted: of the newer protocol a household has a whole network of addresses."""
    if ":" not in address:
        return address
    try:
        found = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(found.ipv4_mapped or ipaddress.IPv6Address(int(found) >> 64 << 64))


class Denials:
    """All callers that were turned away."""

    def __init__(
        self, *, registry: CollectorRegistry, now: Callable[[], float], wrong_keys_per_minute: int
    ) -> None:
        self._now = now
        self._per_minute = wrong_keys_per_minute
        self._buckets = TokenBuckets(_ADDRESSES)
        counter = Counter(
            "orchd_auth_failures",
            "Callers that were turned away for their key",
            ("reason",),
            registry=registry,
        )
        self._counts = {reason: counter.labels(reason.value) for reason in Reason}

    def tell(self, reason: Reason, address: str) -> Refusal | None:
        """Count one; the refusal is for an address that has shown too many wrong keys."""
        self._counts[reason].inc()
        if reason not in _GUESSES:
            return None
        wait_s = self._buckets.take(_site_of(address), self._per_minute, self._now())
        if not wait_s:
            # Beyond the limit no line is written either: guessing must not fill the disk.
            _log.warning("auth.failed", reason=reason.value, address=address)
            return None
        retry_after_s = max(1, math.ceil(wait_s))
        message = (
            f"too many wrong keys or tokens came from {address}: try again in {retry_after_s} s"
        )
        return Refusal(Code.RATE, message, retry_after_s=retry_after_s)
