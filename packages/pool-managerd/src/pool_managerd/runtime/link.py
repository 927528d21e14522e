"""Decides what an orchestrator's reply means for the session and when to speak next.

Pure: the announcer hands in each reply and a dice roll, and does what the step says.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from orchestrator_core.errors import Code

__all__ = ["LinkState", "Pace", "Step", "Verdict", "advance", "judge"]


class Verdict(StrEnum):
    """What an attempt to register or to beat came to."""

    ACCEPTED = "accepted"
    SESSION_GONE = "session_gone"
    KEY_REFUSED = "key_refused"
    KEY_MISSING = "key_missing"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Pace:
    """The spans of the link; tests shorten them."""

    first_s: float = 1.0
    longest_s: float = 30.0
    refused_key_s: float = 30.0
    jitter: float = 0.2
    call_timeout_s: float = 10.0


@dataclass(frozen=True, slots=True)
class LinkState:
    """What the link remembers between two calls."""

    registered: bool = False
    failures: int = 0
    beats: int = 0
    """Accepted beats of this session."""

    fenced: int = 0
    """Sessions lost in a row before they grew old."""

    complaint: Verdict | None = None
    """What was last logged, so that a lasting fault is told once."""


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: how long to rest, and what is worth a line in the log."""

    state: LinkState
    delay_s: float
    wakes_on_change: bool = False
    tell: Verdict | None = None


_SETTLED_BEATS: Final = 3
_INTERVAL_MIN_S: Final = 0.02
_INTERVAL_MAX_S: Final = 60.0

_GONE: Final = frozenset({Code.STALE_SESSION, Code.POOL_NOT_FOUND})
_KEY: Final = frozenset({Code.NO_KEY, Code.BAD_KEY, Code.SCOPE})
_AWAY: Final = frozenset(
    {Code.UNREACHABLE, Code.TIMEOUT, Code.DEADLINE, Code.INTERNAL, Code.DRAINING, Code.LOADING}
)


def judge(code: Code) -> Verdict:
    """Say what an error code means for the session."""
    if code in _GONE:
        return Verdict.SESSION_GONE
    if code in _KEY:
        return Verdict.KEY_REFUSED
    if code in _AWAY:
        return Verdict.UNREACHABLE
    return Verdict.REFUSED


def advance(
    state: LinkState, verdict: Verdict, *, interval_s: float, dice: float, pace: Pace
) -> Step:
    """Fold one verdict into the state; dice is a uniform number from 0 to 1.

    1. Accepted: rest one interval, and end the rest early when something changes.
    2. The session is gone: register anew at once. A session that was lost again before it
       settled means that somebody else uses this pool's name: then back off.
    3. The key is refused: the file is read again at the next registration, slowly.
    4. Away: keep the session, back off, and let no change hurry us.
    """
    jitter = 1 - pace.jitter + 2 * pace.jitter * dice
    tell = verdict if verdict is not state.complaint else None
    if verdict is Verdict.ACCEPTED:
        interval_s = min(max(interval_s, _INTERVAL_MIN_S), _INTERVAL_MAX_S)
        return Step(_accepted(state), interval_s * jitter, wakes_on_change=True, tell=tell)
    if verdict is Verdict.SESSION_GONE and state.registered:
        fenced = state.fenced + 1
        after = LinkState(fenced=fenced, complaint=verdict)
        delay_s = 0.0 if fenced == 1 else _backoff_s(fenced - 1, pace) * jitter
        return Step(after, delay_s, tell=tell)
    failures = state.failures + 1
    after = replace(state, failures=failures, complaint=verdict)
    if verdict is Verdict.UNREACHABLE:
        return Step(after, _backoff_s(failures, pace) * jitter, tell=tell)
    after = replace(after, registered=False, beats=0)
    if verdict is Verdict.KEY_REFUSED and not state.registered:
        return Step(after, pace.refused_key_s * jitter, tell=tell)
    return Step(after, _backoff_s(failures, pace) * jitter, tell=tell)


def _accepted(state: LinkState) -> LinkState:
    beats = state.beats + 1 if state.registered else 0
    return LinkState(
        registered=True,
        beats=beats,
        fenced=0 if beats >= _SETTLED_BEATS else state.fenced,
        complaint=Verdict.ACCEPTED,
    )


def _backoff_s(failures: int, pace: Pace) -> float:
    # The exponent is capped so that a link that is down for weeks stays a small number.
    return min(pace.first_s * 2.0 ** min(failures - 1, 16), pace.longest_s)
