"""Decides what follows the end of a worker that a person wants to run: again, later, or no more.

Pure: the supervisor hands in the ends so far and a dice roll. A worker that never came up is not
tried again, because the person who started it is told why and knows better.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.contracts.base import Fact

__all__ = ["KEPT_ENDS", "Again", "End", "Park", "after_end"]

# With fewer of them the rest would never grow to its longest.
KEPT_ENDS: Final = 10

_FIRST_S: Final = 1.0
_LONGEST_S: Final = 300.0
_JITTER: Final = 0.2
_HEALTHY_S: Final = 600.0
_WINDOW_S: Final = 600.0
_MOST_IN_WINDOW: Final = 5
_FAST_S: Final = 2.0


class End(Fact):
    """One end of a worker's process, as the ledger keeps it.

    Refused: no process came to be, because the host lacked something that it had before.
    """

    at_unix_ms: int
    lived_s: float
    reason: str
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """Start it again after a rest."""

    after_s: float
    reason: str


@dataclass(frozen=True, slots=True)
class Park:
    """Leave it down until a person acts."""

    reason: str


def after_end(ends: Sequence[End], *, dice: float) -> Again | Park:
    """Judge the ends, the newest last; dice is a uniform number from 0 to 1."""
    streak = _streak(ends)
    newest = streak[-1]
    # Memory gets free and a share is mounted again: what was refused is worth another try.
    real = [] if newest.refused else [end for end in streak if not end.refused]
    recent = [end for end in real if newest.at_unix_ms - end.at_unix_ms <= _WINDOW_S * 1000]
    if len(real) > 1 and _is_same_fast_end(real[-2], newest):
        return Park(f"it ended within {_FAST_S:g} s of its start twice in the same way")
    if len(recent) >= _MOST_IN_WINDOW:
        return Park(f"it ended {len(recent)} times within {_WINDOW_S / 60:g} minutes")
    # The exponent is capped so that a long history stays a small number.
    rest_s = min(_FIRST_S * 2.0 ** min(len(streak) - 1, 16), _LONGEST_S)
    rest_s *= 1 - _JITTER + 2 * _JITTER * dice
    return Again(rest_s, f"it comes back in {rest_s:.0f} s (end {len(streak)} in a row)")


def _streak(ends: Sequence[End]) -> Sequence[End]:
    """The ends since the worker last stayed up long enough to be called healthy."""
    first = 0
    for position, end in enumerate(ends):
        if end.lived_s >= _HEALTHY_S:
            first = position
    return ends[first:]


def _is_same_fast_end(before: End, newest: End) -> bool:
    fast = before.lived_s < _FAST_S and newest.lived_s < _FAST_S
    return fast and before.reason == newest.reason
