"""Lets the threads that read have the interpreter sooner, for as long as somebody waits for them.

A query needs the interpreter again for every row: with Python's own 5 ms each would take a tenth of
a second beside a busy loop. Switching that often at all times costs calls that read nothing a
tenth of their time.
"""

import sys
from typing import Final

__all__ = ["Haste"]

_HASTY_S: Final = 0.001


class Haste:
    """Counts the reads that are under way; used on the loop's thread alone."""

    def __init__(self) -> None:
        self._reads = 0
        self._calm_s = sys.getswitchinterval()

    def begin(self) -> None:
        """A read begins."""
        self._reads += 1
        if self._reads == 1:
            sys.setswitchinterval(_HASTY_S)

    def end(self) -> None:
        """A read has ended."""
        self._reads -= 1
        if self._reads == 0:
            sys.setswitchinterval(self._calm_s)
