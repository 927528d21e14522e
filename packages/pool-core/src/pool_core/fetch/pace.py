"""Decides how long to rest before asking a server again, and when to give up: pure."""

from dataclasses import dataclass

__all__ = ["Pace", "Tries"]


@dataclass(frozen=True, slots=True)
class Tries:
    """Failures so far: those since the last byte that came, and all of them."""

    idle: int = 0
    total: int = 0

    def failed(self, *, progressed: bool) -> "Tries":
        """Count one more; whatever came since the last one makes good for those before."""
        return Tries(1 if progressed else self.idle + 1, self.total + 1)


@dataclass(frozen=True, slots=True)
class Pace:
    """The rests double up to the longest; asked_max_s bounds what a server may ask for."""

    first_s: float = 1.0
    longest_s: float = 30.0
    jitter: float = 0.2
    idle_max: int = 8
    total_max: int = 1000
    asked_max_s: float = 300.0

    def rest_s(self, tries: Tries, *, dice: float, asked_s: float | None = None) -> float | None:
        """The rest after the latest failure; None gives up. Dice is uniform from 0 to 1."""
        if tries.idle > self.idle_max or tries.total > self.total_max:
            return None
        if asked_s is not None:
            # Coming early is answered with another refusal, so that chance only makes it longer.
            return asked_s * (1 + self.jitter * dice) if asked_s <= self.asked_max_s else None
        rest = min(self.longest_s, self.first_s * 2.0 ** min(tries.idle - 1, 30))
        return rest * (1 + self.jitter * (2 * dice - 1))
