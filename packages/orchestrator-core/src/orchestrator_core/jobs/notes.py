"""Keeps the lines of a decision's story unrendered: deciding is hot, reading is rare."""

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Note", "remember", "tell"]


class Note(NamedTuple):
    """One decision: when, the sentence, and what fills it."""

    at: float
    template: str
    args: tuple[object, ...] = ()

    def text(self) -> str:
        """The sentence as people read it."""
        return self.template.format(*self.args)


def remember(notes: list[Note], note: Note, limit: int) -> None:
    """Append a note and drop the oldest beyond the limit."""
    notes.append(note)
    if len(notes) > limit:
        del notes[0]


def tell(notes: Sequence[Note]) -> list[str]:
    """Render a story, oldest line first."""
    return [note.text() for note in notes]
