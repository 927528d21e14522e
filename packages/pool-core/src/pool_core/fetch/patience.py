"""Asks a hub once more, a few times, where its answer was cut off or is a fault of its own.

A name or a host that does not answer at all is not asked again: whoever waits learns it at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import PeerError
from pool_core.fetch.faults import Cause
from pool_core.fetch.hub_refusals import retry_after_s
from pool_core.fetch.pace import Pace, Tries
from pool_core.fetch.web import Reply

__all__ = ["Patience"]

_PACE: Final = Pace(first_s=1.0, longest_s=4.0, idle_max=3, asked_max_s=30.0)
_SLICE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """How often small questions are asked; is_stopped ends every rest."""

    pause: Callable[[float], None]
    dice: Callable[[], float]
    is_stopped: Callable[[], bool]

    def reply(self, ask: Callable[[], Reply]) -> Reply:
        """The answer, the last one where none was better; raises PeerError."""
        tries = Tries()
        while True:
            tries = tries.failed(progressed=False)
            try:
                reply = ask()
            except PeerError as error:
                if error.refusal.details.get("cause") != Cause.CUT or not self._rests(tries):
                    raise
                continue
            is_no_answer = reply.status in (408, 425, 429) or reply.status >= 500
            if not is_no_answer or not self._rests(tries, retry_after_s(reply.headers)):
                return reply

    def _rests(self, tries: Tries, asked_s: float | None = None) -> bool:
        """Rest until the next question; False where there shall be none."""
        rest_s = _PACE.rest_s(tries, dice=self.dice(), asked_s=asked_s)
        if rest_s is None:
            return False
        while rest_s > 0:
            if self.is_stopped():
                return False
            self.pause(min(rest_s, _SLICE_S))
            rest_s -= _SLICE_S
        return not self.is_stopped()
