"""Token buckets: how often somebody may do a thing per minute, and when they may again; pure.

Who does nothing for a while has a full bucket, and a full bucket need not be kept: when there are
too many, the one that was used last the longest ago goes.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

__all__ = ["TokenBuckets"]

_PERIOD_S: Final = 60.0


@dataclass(slots=True)
class _Bucket:
    per_minute: int
    tokens: float
    at: float

    def refill(self, now: float) -> None:
        """Add what has come in since the last look; a clock that stands still adds nothing."""
        gained = max(0.0, now - self.at) * self.per_minute / _PERIOD_S
        self.tokens = min(float(self.per_minute), self.tokens + gained)
        self.at = now


class TokenBuckets:
    """One bucket each for those who did something lately, and never more than the limit."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # In the order of their last use.
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, who: str, per_minute: int, now: float) -> float:
        """Take one token; 0 when there was one, else the seconds until there is the next."""
        bucket = self._buckets.get(who)
        if bucket is None:
            if len(self._buckets) >= self._limit:
                # Who did nothing for the longest time has the fullest bucket to lose.
                self._buckets.popitem(last=False)
            bucket = self._buckets[who] = _Bucket(per_minute, float(per_minute), now)
        else:
            self._buckets.move_to_end(who)
        bucket.refill(now)
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return 0.0
        return (1.0 - bucket.tokens) * _PERIOD_S / bucket.per_minute

    def forget(self, who: str) -> None:
        """Drop somebody's bucket."""
        self._buckets.pop(who, None)
