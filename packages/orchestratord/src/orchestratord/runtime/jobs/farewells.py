"""Lets somebody wait for the end of a live job, stored or not: it has ended when it leaves."""

import asyncio
import contextlib
from collections.abc import Generator

from orchestrator_core.ids import JobId
from orchestratord.runtime.jobs.live import LiveJobs

__all__ = ["Farewells"]


class Farewells:
    """Everybody who waits for the end of a job."""

    def __init__(self, jobs: LiveJobs) -> None:
        self._waiting: dict[JobId, set[asyncio.Future[None]]] = {}
        jobs.tell_drops(self._ended)

    @contextlib.contextmanager
    def of(self, job_id: JobId) -> Generator[asyncio.Future[None]]:
        """A future for a block, done once the job has ended; begin before you ask it to end."""
        end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(job_id, set())
        waiting.add(end)
        try:
            yield end
        finally:
            end.cancel()
            waiting.discard(end)
            if not waiting and self._waiting.get(job_id) is waiting:
                del self._waiting[job_id]

    def _ended(self, job_id: JobId) -> None:
        for end in self._waiting.pop(job_id, ()):
            if not end.done():
                end.set_result(None)
