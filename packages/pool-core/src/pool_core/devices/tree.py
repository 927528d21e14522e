"""Reads small facts out of /proc and /sys below a root that tests replace.

The kernel may refuse any of these reads at any moment, even of a file that it lists. A fact that
cannot be read is missing; it is never an error.
"""

import re
from pathlib import Path
from typing import Final

__all__ = ["Tree", "whole"]

_READ_MAX_BYTES: Final = 4 << 20
_NUMBER_MAX: Final = (1 << 64) - 1
_NUMBER_CHARS_MAX: Final = 32


class Tree:
    """The files of one host; paths are relative to its root."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, path: str) -> Path:
        """Where a file of the host lies for us."""
        return self._root / path

    def text(self, path: str) -> str:
        """The content without the white space around it; empty where it cannot be read."""
        try:
            with self.path(path).open("rb") as file:
                return file.read(_READ_MAX_BYTES).decode("utf-8", "replace").strip()
        except (OSError, ValueError):
            return ""

    def number(self, path: str, base: int = 10) -> int | None:
        """The content as a number that is not negative; base 16 allows the prefix 0x."""
        return whole(self.text(path), base)

    def names(self, path: str) -> list[str]:
        """What a folder holds, with numbers in their own order (card2 before card10)."""
        try:
            return sorted((entry.name for entry in self.path(path).iterdir()), key=_natural)
        except (OSError, ValueError):
            return []


def whole(text: str, base: int = 10) -> int | None:
    """A number as the kernel counts: never negative, and not wider than 64 bits."""
    if len(text) > _NUMBER_CHARS_MAX:
        return None
    try:
        found = int(text, base)
    except ValueError:
        return None
    return found if 0 <= found <= _NUMBER_MAX else None


def _natural(name: str) -> list[tuple[int, str]]:
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
