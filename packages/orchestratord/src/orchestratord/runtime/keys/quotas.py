"""What a key may ask at one time and per minute; pure, the caller brings the time and the count."""

import math
from typing import Final

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import KeyId
from orchestratord.runtime.keys.keyring import Principal
from orchestratord.runtime.keys.token_buckets import TokenBuckets

__all__ = ["Quotas"]

_KEYS: Final = 10_000


class Quotas:
    """The limits of keys that have some; a key without limits costs nothing here."""

    def __init__(self) -> None:
        self._buckets = TokenBuckets(_KEYS)

    def __len__(self) -> int:
        """How many keys are counted."""
        return len(self._buckets)

    def admit(self, holder: Principal, *, now: float, live_jobs: int) -> Refusal | None:
        """Let one more request of a key in, or say which limit it has reached and for how long."""
        at_once, per_minute = holder.concurrent_jobs, holder.requests_per_minute
        if at_once is not None and live_jobs >= at_once:
            message = f"this key may have {at_once} jobs at one time: wait until one has ended"
            return Refusal(Code.QUOTA, message, {"concurrent_jobs": at_once})
        if per_minute is None:
            return None
        wait_s = self._buckets.take(holder.key_id, per_minute, now)
        if not wait_s:
            return None
        retry_after_s = max(1, math.ceil(wait_s))
        message = f"this key may ask {per_minute} times a minute: try again in {retry_after_s} s"
        details = {"requests_per_minute": per_minute}
        return Refusal(Code.RATE, message, details, retry_after_s=retry_after_s)

    def forget(self, key_id: KeyId) -> None:
        """Drop what was counted for a key that opens nothing any more."""
        self._buckets.forget(key_id)
