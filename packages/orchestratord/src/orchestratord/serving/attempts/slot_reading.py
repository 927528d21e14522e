"""Reads a worker's word on its slots, and decides which cut attempts it has let go of. Pure.

The word is the answer to GET /slots as upstream brings it, and untrusted like all of a worker's.
"""

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from typing import Final, cast

import orjson

from orchestratord.upstream.exchange import Fault, FaultKind
from orchestratord.upstream.loose import as_objects
from orchestratord.upstream.plain import Reply

__all__ = ["Silence", "let_go", "read_slots"]

_NO_SUCH_QUESTION: Final = frozenset({404, 405, 501})


class Silence(Enum):
    """Why a worker did not say how many of its slots compute."""

    GONE = auto()
    """Nobody listens any more: there are no slots left to compute."""
    MUTE = auto()
    """It does not answer this question, now or later."""
    UNCLEAR = auto()
    """It may answer the next time."""
    AWAY = auto()
    """The way to its host is down, or seems to be: it may compute all the while."""


_AT_FAULT: Final = {
    FaultKind.CONNECT: Silence.GONE,
    FaultKind.EOF: Silence.GONE,
    FaultKind.RESET: Silence.GONE,
    FaultKind.ROAD: Silence.AWAY,
    FaultKind.LOST: Silence.AWAY,
}


def read_slots(answer: Reply | Fault, *, far: bool = False) -> int | Silence:
    """Count the slots that compute; a far worker is on another host."""
    if isinstance(answer, Fault):
        if far and answer.kind is FaultKind.TIMEOUT:
            # A way that has just died is silent for a while before anybody notices.
            return Silence.AWAY
        return _AT_FAULT.get(answer.kind, Silence.UNCLEAR)
    if answer.status in _NO_SUCH_QUESTION:
        return Silence.MUTE
    if answer.status != 200:
        return Silence.UNCLEAR
    try:
        slots: object = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return Silence.UNCLEAR
    if not isinstance(slots, list) or not slots:
        return Silence.UNCLEAR
    told = as_objects(cast("list[object]", slots))
    return sum(slot.get("is_processing") is True for slot in told)


def let_go(cuts: Sequence[int], *, busy: int, held: int) -> Iterator[int]:
    """Name the cut attempts that are over, by their place; `cuts` are their slots.

    Nobody can tell the slots of two attempts apart: of what computes, `held` slots belong to
    attempts that go on, and the rest is taken to be of those that were cut last.
    """
    free = sum(cuts) - max(0, busy - held)
    for place, slots in enumerate(cuts):
        if slots <= free:
            free -= slots
            yield place
