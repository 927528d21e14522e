"""The logs of jobs that ended a moment ago, for readers who come just behind the end.

A short job is over before its submitter asks for its events: they are still here then, and no
thread has to fetch them from the store. Bounded by number, bytes and age; the store has them all.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from orchestrator_core.ids import JobId, KeyId
from orchestratord.runtime.jobs.joblog import JobLog

__all__ = ["PartingLogs"]

_LIMIT: Final = 2_000
_LIMIT_BYTES: Final = 16 * 1024 * 1024
_KEPT_S: Final = 10.0


class _Parting(NamedTuple):
    key_id: KeyId
    log: JobLog
    ended_at: float


class PartingLogs:
    """Whole logs of ended jobs by id, the oldest first."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._partings: dict[JobId, _Parting] = {}
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._partings)

    def keep(self, job_id: JobId, key_id: KeyId, log: JobLog) -> None:
        """Take the log of a job that has ended, if it is whole and small."""
        if not log.is_whole or job_id in self._partings:
            return
        self._partings[job_id] = _Parting(key_id, log, self._now())
        self._size_bytes += log.size_bytes
        while len(self._partings) > _LIMIT or self._size_bytes > _LIMIT_BYTES:
            self._drop_oldest()

    def find(self, job_id: JobId) -> tuple[KeyId, JobLog] | None:
        """The log of a job that ended just now, and whose job it was."""
        found = self._partings.get(job_id)
        return None if found is None else (found.key_id, found.log)

    def sweep(self) -> None:
        """Let go of what nobody came for."""
        oldest_at = self._now() - _KEPT_S
        while self._partings and next(iter(self._partings.values())).ended_at < oldest_at:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        parting = self._partings.pop(next(iter(self._partings)))
        self._size_bytes -= parting.log.size_bytes
