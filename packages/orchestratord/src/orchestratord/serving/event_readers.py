"""Readers of job event streams: each keeps a cursor, reads the live log or the store, and waits.

No reader buffers anything: what it was not sent yet lies in the job's log or on disk. The sweeper
asks for keep-alives and ends readers that do not read; a stopping daemon says so and closes.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from orchestrator_core.clock import Clock
from orchestrator_core.ids import JobId
from orchestrator_core.stream import sse
from orchestratord.runtime.durable_job import DurableJob
from orchestratord.runtime.joblog import JobLog, event_frame, is_terminal
from orchestratord.runtime.live import LiveJobs
from orchestratord.serving.patience import run_out
from orchestratord.store.port import JobStore

__all__ = ["EventReader", "EventReaders"]

_PAGE: Final = 500
_KEEPALIVE: Final = sse.comment("keep-alive")
_RESTARTING: Final = sse.comment("restarting")


class EventReader:
    """One open event stream of one job."""

    def __init__(self, job_id: JobId, after: int, clock: Clock) -> None:
        self.job_id = job_id
        self.cursor = after
        self.sent_at = clock.monotonic_s()
        self.sending = False
        self.keepalive_due = False
        self.patience: asyncio.Timeout | None = None
        self.log: JobLog | None = None


class EventReaders:
    """All open event streams."""

    def __init__(
        self,
        *,
        store: JobStore,
        jobs: LiveJobs,
        clock: Clock,
        keepalive_s: float,
        slow_reader_s: float,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._clock = clock
        self._keepalive_s = keepalive_s
        self._slow_reader_s = slow_reader_s
        self._readers: set[EventReader] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._readers)

    async def frames(self, reader: EventReader) -> AsyncGenerator[bytes]:
        """Yield what the client shall be sent next, until the job's terminal event."""
        self._readers.add(reader)
        try:
            while not self._closing:
                data, ended = await self._next(reader)
                if data:
                    reader.sending = True
                    reader.sent_at = self._clock.monotonic_s()
                    yield data
                    reader.sending = False
                    reader.sent_at = self._clock.monotonic_s()
                if ended:
                    return
            yield _RESTARTING
        finally:
            self._readers.discard(reader)

    def sweep(self) -> None:
        """Look once a second at who needs a keep-alive and who has stopped reading."""
        now = self._clock.monotonic_s()
        for reader in list(self._readers):
            silent_s = now - reader.sent_at
            if reader.sending:
                if silent_s > self._slow_reader_s and reader.patience is not None:
                    run_out(reader.patience)
            elif silent_s >= self._keepalive_s:
                reader.keepalive_due = True
                if reader.log is not None:
                    reader.log.wake()

    def close(self) -> None:
        """Tell every reader that the daemon restarts; they come back with their last id."""
        self._closing = True
        for reader in self._readers:
            if reader.log is not None:
                reader.log.wake()

    async def _next(self, reader: EventReader) -> tuple[bytes, bool]:
        job = self._jobs.get(reader.job_id)
        if isinstance(job, DurableJob):
            # The log outlives the job's place among the live ones, for whoever reads it still.
            reader.log = job.log
        if reader.log is None:
            return await self._from_store(reader)
        frames = reader.log.after(reader.cursor)
        if frames is None:
            return await self._from_store(reader)
        if frames:
            reader.cursor += len(frames)
            return b"".join(frames), reader.log.ended and reader.cursor >= reader.log.last_seq
        if reader.log.ended:
            return b"", True
        if reader.keepalive_due:
            reader.keepalive_due = False
            return _KEEPALIVE, False
        await reader.log.woken()
        return b"", False

    async def _from_store(self, reader: EventReader) -> tuple[bytes, bool]:
        rows = await self._store.events_after(reader.job_id, reader.cursor, _PAGE)
        if not rows:
            # Nothing can follow on disk: the client has the terminal event, or it was purged.
            return b"", reader.log is None or reader.log.ended
        reader.cursor = rows[-1].seq
        data = b"".join(event_frame(row.seq, row.kind, row.data) for row in rows)
        return data, is_terminal(rows[-1].kind)
