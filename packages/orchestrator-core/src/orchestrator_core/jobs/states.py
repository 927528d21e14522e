"""The states of a job and the moves between them; everything about job states lives here.

A job ends exactly once: no move leaves a terminal state.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.jobs.notes import Note, tell

__all__ = ["MOVES", "TERMINAL", "InvalidTransition", "move"]

_S = JobStatus
_ENDS_EARLY: Final = frozenset({_S.FAILED, _S.CANCELLED, _S.EXPIRED})

MOVES: Final[Mapping[JobStatus, frozenset[JobStatus]]] = MappingProxyType(
    {
        _S.QUEUED: frozenset({_S.DISPATCHED}) | _ENDS_EARLY,
        _S.DISPATCHED: frozenset({_S.RUNNING, _S.QUEUED}) | _ENDS_EARLY,
        _S.RUNNING: frozenset({_S.COMPLETED, _S.QUEUED}) | _ENDS_EARLY,
        _S.COMPLETED: frozenset(),
        _S.FAILED: frozenset(),
        _S.CANCELLED: frozenset(),
        _S.EXPIRED: frozenset(),
    }
)

TERMINAL: Final = frozenset(status for status, targets in MOVES.items() if not targets)


class InvalidTransition(RuntimeError):  # noqa: N818 - the name of a fact, as the state tables use it
    """A move that the table does not know; carries the story that led to it."""

    def __init__(self, subject: str, status: str, to: str, story: Sequence[Note] = ()) -> None:
        self.subject, self.status, self.to, self.story = subject, status, to, tuple(story)
        lines = "".join(f"\n  {line}" for line in tell(story))
        super().__init__(f"{subject} cannot go from {status} to {to}{lines}")


def move(
    status: JobStatus, to: JobStatus, *, subject: str = "a job", story: Sequence[Note] = ()
) -> JobStatus:
    """Return the new state, or raise InvalidTransition with the story."""
    if to not in MOVES[status]:
        raise InvalidTransition(subject, status, to, story)
    return to
