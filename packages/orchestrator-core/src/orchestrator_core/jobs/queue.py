"""The lane of a sub-queue: its waiting jobs in the order in which they are served.

Interactive jobs go before batch jobs until these have aged, and inside a class the tickets of
jobs.fairness decide. A job that comes back brings its old ticket and gets its old place.
"""

from typing import Protocol

from orchestrator_core.ids import JobId
from orchestrator_core.jobs.fairness import FairOrder
from orchestrator_core.jobs.ranked_line import RankedLine, Ticket

__all__ = ["FairQueue", "JobQueue"]


class JobQueue(Protocol):
    """What the scheduler asks of a lane, whatever the rule."""

    def enqueue(self, ticket: Ticket) -> None:
        """Put a job at its place; a job that is in already raises ValueError."""
        ...

    def serve(self, ticket: Ticket) -> None:
        """Take a job that is the first of its class; another one raises LookupError."""
        ...

    def peek(self) -> JobId | None:
        """Name the job that is next."""
        ...

    def head(self) -> Ticket | None:
        """The ticket of the job that is next."""
        ...

    def first_of(self, *, is_batch: bool) -> Ticket | None:
        """The ticket that is next in one class, to compare the heads of several lanes."""
        ...

    def remove(self, ticket: Ticket) -> bool:
        """Take a job out of the middle; False if it is not in."""
        ...

    def count_before(self, ticket: Ticket) -> int:
        """How many jobs of its class are served before this one; it may be of another lane."""
        ...

    def count(self, *, is_batch: bool) -> int:
        """Jobs of one class."""
        ...

    def __contains__(self, ticket: Ticket) -> bool: ...

    def __len__(self) -> int: ...


class FairQueue:
    """Two lines, one for each class; the order that they share knows whose turn it is."""

    __slots__ = ("_batch", "_interactive", "_order")

    def __init__(self, order: FairOrder) -> None:
        self._order = order
        self._interactive = RankedLine()
        self._batch = RankedLine()

    def __len__(self) -> int:
        return len(self._interactive) + len(self._batch)

    def __contains__(self, ticket: Ticket) -> bool:
        return ticket in self._line(is_batch=ticket.is_batch)

    def enqueue(self, ticket: Ticket) -> None:
        """Put a job at its place; a job that is in already raises ValueError."""
        self._line(is_batch=ticket.is_batch).add(ticket)
        self._order.entered(ticket)

    def serve(self, ticket: Ticket) -> None:
        """Take a job that is the first of its class; another one raises LookupError."""
        line = self._batch if ticket.is_batch else self._interactive
        if line.first is not ticket:
            raise LookupError(f"it is not the turn of {ticket.job_id}")
        line.pop()
        self._order.served(ticket)

    def peek(self) -> JobId | None:
        """Name the job that is next."""
        head = self.head()
        return None if head is None else head.job_id

    def head(self) -> Ticket | None:
        """The ticket of the job that is next."""
        interactive, batch = self._interactive.first, self._batch.first
        if batch is None:
            return interactive
        if interactive is None or self._order.overtakes(batch, interactive):
            return batch
        return interactive

    def first_of(self, *, is_batch: bool) -> Ticket | None:
        """The ticket that is next in one class, to compare the heads of several lanes."""
        return self._line(is_batch=is_batch).first

    def remove(self, ticket: Ticket) -> bool:
        """Take a job out of the middle; False if it is not in."""
        if not self._line(is_batch=ticket.is_batch).remove(ticket):
            return False
        self._order.withdrawn(ticket)
        return True

    def count_before(self, ticket: Ticket) -> int:
        """How many jobs of its class are served before this one; it may be of another lane."""
        return self._line(is_batch=ticket.is_batch).count_before(ticket)

    def count(self, *, is_batch: bool) -> int:
        """Jobs of one class."""
        return len(self._line(is_batch=is_batch))

    def _line(self, *, is_batch: bool) -> RankedLine:
        return self._batch if is_batch else self._interactive
