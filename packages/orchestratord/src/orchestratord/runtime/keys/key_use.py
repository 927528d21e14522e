"""Brings to the store when keys were used last: at most once a minute, never with a request."""

from collections.abc import Callable
from typing import Final

from orchestrator_core.errors import LlorchError
from orchestratord.runtime.keys.keyring import KeyRing
from orchestratord.store.port import JobStore
from orchestratord.store.writes import NoteKeyUse

__all__ = ["KeyUse"]

_PERIOD_S: Final = 60.0


class KeyUse:
    """One write for all keys that were used meanwhile."""

    def __init__(
        self,
        *,
        keys: KeyRing,
        store: JobStore,
        now: Callable[[], float],
        on_failure: Callable[[LlorchError], None],
    ) -> None:
        self._keys = keys
        self._store = store
        self._now = now
        self._on_failure = on_failure
        self._told_at = now()

    def sweep(self) -> None:
        """Write when a minute has passed."""
        if self._now() - self._told_at >= _PERIOD_S:
            self.flush()

    def flush(self) -> None:
        """Write now."""
        self._told_at = self._now()
        used = self._keys.take_uses()
        if not used:
            return
        try:
            self._store.post(NoteKeyUse(used))
        except LlorchError as problem:
            self._on_failure(problem)
