"""Decides how a link to a host goes on: what a person sees of it, and when it is tried again. Pure.

A lost connection is tried again soon and then more slowly. What only a person can mend is told,
tried again once a minute, and at once when the enrolment changes.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = [
    "Course",
    "LinkState",
    "LinkView",
    "Pace",
    "after_failure",
    "after_refused_word",
    "after_word",
    "fresh_course",
]


class LinkState(StrEnum):
    """What is shown of a link."""

    CONNECTING = "connecting"
    UP = "up"
    NEEDS_ATTENTION = "needs_attention"


@dataclass(frozen=True, slots=True)
class LinkView:
    """One link as people see it; reason is one line."""

    state: LinkState
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Pace:
    """How soon a link is tried again: at first, at most, for long, and while a person must act.

    Until it has failed often in a row it is tried every most_s, later more and more rarely: hosts
    that are away for a night cost next to nothing.
    """

    first_s: float = 0.2
    most_s: float = 5.0
    often: int = 30
    rare_s: float = 30.0
    attention_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Course:
    """Where a link stands, and how often in a row it has failed."""

    view: LinkView
    failures: int = 0


# No second try mends these: a key, a login or a token that is not taken, a name that is no host.
_FOR_A_PERSON: Final = frozenset(
    {
        Code.HOST_KEY_UNKNOWN,
        Code.HOST_KEY_CHANGED,
        Code.HOST_REFUSED,
        Code.HOST_NOT_FOUND,
        Code.BAD_TOKEN,
        Code.NO_KEY,
        Code.BAD_KEY,
        Code.SCOPE,
        Code.INVALID_REQUEST,
        Code.CONFIG_INVALID,
        Code.VERSION_SKEW,
    }
)


def fresh_course() -> Course:
    """Begin, or begin anew after a person has changed something."""
    return Course(LinkView(LinkState.CONNECTING))


def after_word(course: Course) -> Course:
    """Go on after the pool has said something that we took: the link is up."""
    return replace(course, view=LinkView(LinkState.UP), failures=0)


def after_refused_word(course: Course, refusal: Refusal) -> Course:
    """Go on after the pool has said something that we cannot take; its session stays open."""
    return replace(course, view=_view_of(refusal))


def after_failure(
    course: Course, refusal: Refusal, *, draw: float, pace: Pace
) -> tuple[Course, float]:
    """Go on after a failure: the course from here, and the seconds to wait; 0 <= draw < 1."""
    after = Course(_view_of(refusal), course.failures + 1)
    if after.view.state is LinkState.NEEDS_ATTENTION:
        return after, pace.attention_s * (0.75 + draw / 2)
    return after, _pause_s(course.failures, pace) * (0.5 + draw / 2)


def _pause_s(failures: int, pace: Pace) -> float:
    # The exponents are held small: a host that is away for a month must make no huge number.
    if failures < pace.often:
        return min(pace.most_s, pace.first_s * 2 ** min(failures, 16))
    beyond = (failures - pace.often) // 10
    return max(pace.most_s, min(pace.rare_s, pace.most_s * 2 ** min(beyond, 16)))


def _view_of(refusal: Refusal) -> LinkView:
    for_a_person = refusal.code in _FOR_A_PERSON
    state = LinkState.NEEDS_ATTENTION if for_a_person else LinkState.CONNECTING
    return LinkView(state, refusal.message)
