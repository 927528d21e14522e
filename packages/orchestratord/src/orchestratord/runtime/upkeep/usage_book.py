"""Gathers what finished calls used, so that the books cost the disk one COMMIT for many calls."""

from collections.abc import Callable

from orchestrator_core.errors import LlorchError
from orchestratord.runtime.flusher import Flusher
from orchestratord.store.port import JobStore
from orchestratord.store.rows import UsageRow
from orchestratord.store.writes import RecordUsage

__all__ = ["UsageBook"]


class UsageBook:
    """Rows that nobody waits for; they reach the store with the flusher's next round."""

    def __init__(
        self, store: JobStore, flusher: Flusher, on_failure: Callable[[LlorchError], None]
    ) -> None:
        self._store = store
        self._flusher = flusher
        self._on_failure = on_failure
        self._rows: list[UsageRow] = []

    def add(self, row: UsageRow) -> None:
        """Take a row."""
        self._rows.append(row)
        self._flusher.want(self)

    def flush(self) -> None:
        """Hand all rows to the store."""
        rows, self._rows = self._rows, []
        try:
            for row in rows:
                self._store.post(RecordUsage(row))
        except LlorchError as problem:
            self._on_failure(problem)
