"""Hears of a process's end on macOS: a kernel queue with one question, whose descriptor waits."""

import select
from collections.abc import Sequence
from typing import Protocol, cast

from orchestrator_core.errors import Code, HostError, Refusal

__all__ = ["Kqueues", "Queue", "exit_queue", "system_kqueues"]


class Queue(Protocol):
    """One kernel queue."""

    def fileno(self) -> int:
        """A descriptor that is readable once something is in the queue."""
        ...

    def control(self, changes: Sequence[object], max_events: int, /) -> Sequence[object]:
        """Ask questions."""
        ...

    def close(self) -> None:
        """Give the queue back."""
        ...


class Kqueues(Protocol):
    """The part of the module select that only BSD systems have."""

    KQ_FILTER_PROC: int
    KQ_NOTE_EXIT: int
    KQ_EV_ADD: int
    KQ_EV_ONESHOT: int

    def kqueue(self) -> Queue:
        """Open a queue."""
        ...

    def kevent(self, ident: int, filter: int, flags: int, fflags: int) -> object:  # noqa: A002
        """Word a question."""
        ...


def system_kqueues() -> Kqueues:
    """The system's own."""
    return cast("Kqueues", select)


def exit_queue(kqueues: Kqueues, pid: int) -> Queue | None:
    """Open a queue that hears of the process's end; None when it has already ended."""
    question = kqueues.kevent(
        pid,
        kqueues.KQ_FILTER_PROC,
        kqueues.KQ_EV_ADD | kqueues.KQ_EV_ONESHOT,
        kqueues.KQ_NOTE_EXIT,
    )
    queue: Queue | None = None
    try:
        queue = kqueues.kqueue()
        # Room for no event makes an error an exception instead of an entry.
        queue.control([question], 0)
    except OSError as error:
        if queue is not None:
            queue.close()
        if isinstance(error, ProcessLookupError):
            return None
        raise HostError(Refusal(Code.INTERNAL, f"cannot watch process {pid}: {error}")) from error
    return queue
