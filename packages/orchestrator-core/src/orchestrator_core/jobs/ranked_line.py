"""A line of tickets in their order, kept in short sorted pieces.

Adding at the end and taking from the front cost the same however long the line is; a place in the
middle is found by halving, and how many stand before a ticket is a sum over the pieces.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import Final, NamedTuple

from orchestrator_core.ids import JobId, KeyId

__all__ = ["RankedLine", "Ticket"]

_PIECE: Final = 512


class Ticket(NamedTuple):
    """A job's place in the order of its class; smaller goes first, and it never changes.

    `end` is where the share that the job uses up ends in virtual time.
    """

    is_batch: bool
    start: float
    queued_at: float
    job_id: JobId
    key_id: KeyId
    end: float


class RankedLine:
    """Tickets of one class, smallest first; no piece is ever empty.

    `first` is the smallest, asked several times for every placement; only the line sets it.
    """

    __slots__ = ("_length", "_pieces", "first")

    def __init__(self) -> None:
        self._pieces: list[list[Ticket]] = []
        self._length = 0
        self.first: Ticket | None = None

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Ticket]:
        for piece in self._pieces:
            yield from piece

    def __contains__(self, ticket: Ticket) -> bool:
        where = self._find(ticket)
        return where is not None and where[0][where[1]] == ticket

    def add(self, ticket: Ticket) -> None:
        """Put a ticket at its place; one that is in already raises ValueError."""
        pieces = self._pieces
        if not pieces or ticket > pieces[-1][-1]:
            if pieces and len(pieces[-1]) < _PIECE:
                pieces[-1].append(ticket)
            else:
                pieces.append([ticket])
        else:
            self._insert(ticket)
        self._length += 1
        self.first = pieces[0][0]

    def pop(self) -> Ticket:
        """Take the smallest ticket of a line that is not empty."""
        piece = self._pieces[0]
        ticket = piece.pop(0)
        if not piece:
            del self._pieces[0]
        self._length -= 1
        self.first = self._pieces[0][0] if self._length else None
        return ticket

    def remove(self, ticket: Ticket) -> bool:
        """Take a ticket out of the middle; False if it is not in."""
        where = self._find(ticket)
        if where is None or where[0][where[1]] != ticket:
            return False
        piece, place = where
        del piece[place]
        if not piece:
            self._pieces.remove(piece)
        self._length -= 1
        self.first = self._pieces[0][0] if self._length else None
        return True

    def count_before(self, ticket: Ticket) -> int:
        """How many tickets are smaller; this one need not be in."""
        index = bisect_left(self._pieces, ticket, key=_last)
        if index == len(self._pieces):
            return self._length
        before = sum(len(piece) for piece in self._pieces[:index])
        return before + bisect_left(self._pieces[index], ticket)

    def _insert(self, ticket: Ticket) -> None:
        pieces = self._pieces
        index = bisect_left(pieces, ticket, key=_last)
        piece = pieces[index]
        place = bisect_left(piece, ticket)
        if piece[place] == ticket:
            raise ValueError(f"{ticket.job_id} is queued already")
        piece.insert(place, ticket)
        if len(piece) > 2 * _PIECE:
            pieces[index : index + 1] = [piece[:_PIECE], piece[_PIECE:]]

    def _find(self, ticket: Ticket) -> tuple[list[Ticket], int] | None:
        index = bisect_left(self._pieces, ticket, key=_last)
        if index == len(self._pieces):
            return None
        piece = self._pieces[index]
        return piece, bisect_left(piece, ticket)


def _last(piece: list[Ticket]) -> Ticket:
    return piece[-1]
