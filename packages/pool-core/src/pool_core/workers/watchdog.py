"""Decides whether a busy worker still works, from the counters that its engine publishes. Pure.

An engine can answer health checks for ever while its computing has died. A slot that is busy while
no counter moves, or an engine that answers nothing at all, has this long: the spec's stall_s.
"""

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["LONGEST_TEXT", "Counters", "StallWatch", "parse_counters"]

_LINE: Final = re.compile(r"^llamacpp:(\w+)(?:\{[^}]*\})? ([0-9.eE+-]+)$", re.MULTILINE)
_BUSY: Final = "requests_processing"
_MOVING: Final = ("prompt_tokens_total", "tokens_predicted_total", "n_decode_total")
LONGEST_TEXT: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Counters:
    """How many slots work, and what grows with every step of theirs."""

    busy: int
    steps: tuple[float, ...]


def parse_counters(text: str) -> Counters | None:
    """Read the engine's metrics; None when they do not say whether a slot is busy."""
    values: dict[str, float] = {}
    for name, number in _LINE.findall(text[:LONGEST_TEXT]):
        try:
            values[name] = float(number)
        except ValueError:
            continue
    if _BUSY not in values:
        return None
    steps = tuple(values.get(name, 0.0) for name in _MOVING)
    return Counters(max(0, int(values[_BUSY])), steps)


class StallWatch:
    """Follows the counters of one worker."""

    def __init__(self, stall_s: float, *, now_s: float) -> None:
        self._stall_s = stall_s
        self._moved_s = now_s
        self._steps: tuple[float, ...] = ()

    def observe(self, counters: Counters | None, *, now_s: float) -> str | None:
        """Take the newest counters, None for no answer; a text says why the worker is given up."""
        if counters is not None and (counters.busy == 0 or counters.steps != self._steps):
            self._moved_s, self._steps = now_s, counters.steps
        still_s = now_s - self._moved_s
        if still_s < self._stall_s:
            return None
        if counters is None:
            return f"wedged: it has not answered for {still_s:.0f} s"
        return f"wedged: {counters.busy} busy slots and no progress for {still_s:.0f} s"
