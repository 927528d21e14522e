"""The word that ends a long act: said once by a person, heard by whoever is at work on it."""

import threading
from collections.abc import Callable

__all__ = ["Cancellation"]


class Cancellation:
    """Set once and for good; may be set in one thread and heard in another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_set = False
        self._hearers: list[Callable[[], None]] = []

    def is_set(self) -> bool:
        """Tell whether the act shall end."""
        return self._is_set

    def set(self) -> None:
        """End the act: everyone who waits for this word is called now, once."""
        with self._lock:
            hearers, self._hearers = self._hearers, []
            self._is_set = True
        for hear in hearers:
            hear()

    def when_set(self, hear: Callable[[], None]) -> None:
        """Have this called when the word is said; at once if that has happened already."""
        with self._lock:
            if not self._is_set:
                self._hearers.append(hear)
                return
        hear()
