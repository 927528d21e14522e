"""What a command says to a person while something else may be drawing on the same terminal."""

import contextlib
from collections.abc import Callable, Generator

__all__ = ["Voice"]


class Voice:
    """Says a line; whoever draws on the terminal is lent the word, so that none is drawn over."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def __call__(self, text: str) -> None:
        """Say one line."""
        self._say(text)

    @contextlib.contextmanager
    def lent(self, say: Callable[[str], None]) -> Generator[None]:
        """Let another one say what is said meanwhile."""
        own, self._say = self._say, say
        try:
            yield
        finally:
            self._say = own
