"""Readers of job event streams: each keeps a cursor, reads the live log or the store, and waits.

No reader buffers anything: what it was not sent yet lies in the job's log or on disk. The sweeper
asks for keep-alives and ends readers that do not read or whose key is not valid any more; a
stopping daemon says so and closes.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

import orjson

from orchestrator_core.clock import Clock
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import JobId, KeyId
from orchestrator_core.stream import sse
from orchestrator_core.units import KIB
from orchestratord.runtime.jobs.durable_job import DurableJob
from orchestratord.runtime.jobs.joblog import JobLog, event_frame, is_terminal
from orchestratord.runtime.jobs.live import LiveJobs
from orchestratord.runtime.jobs.parting_logs import PartingLogs
from orchestratord.serving.answers.patience import run_out
from orchestratord.store.port import JobStore

__all__ = ["EventReader", "EventReaders", "Known"]

_PAGE: Final = 500
# A client is sent so much at once that also a slow line carries it before patience runs out.
_PIECE_BYTES: Final = 64 * KIB
_KEEPALIVE: Final = sse.comment("keep-alive")
_RESTARTING: Final = sse.comment("restarting")
_REVOKED: Final = sse.comment("key revoked")
_KEY_LIMIT: Final = 1_000
_LIMIT: Final = 4_000
_RETRY_AFTER_S: Final = 10


class _Send(Protocol):
    async def __call__(self, data: bytes, *, more: bool) -> None: ...


class Known(NamedTuple):
    """Whose job it is, and whether it shall end with its reader."""

    key_id: KeyId
    clings: bool


class EventReader:
    """One open event stream of one job."""

    __slots__ = (
        "cursor", "done", "dropped", "job_id", "keepalive_due", "key_id", "log", "patience",
        "revoked", "sending", "sent_at",
    )  # fmt: skip

    def __init__(self, job_id: JobId, key_id: KeyId, after: int, now: float) -> None:
        self.job_id = job_id
        self.key_id = key_id
        self.cursor = after
        self.sent_at = now
        self.sending = False
        self.keepalive_due = False
        self.revoked = False
        # Set by whoever ends the stream first: its end, its client, or the sweeper.
        self.done = False
        self.dropped = False
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
        holds: Callable[[KeyId], bool] = lambda _: True,
        partings: PartingLogs | None = None,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._clock = clock
        self._keepalive_s = keepalive_s
        self._slow_reader_s = slow_reader_s
        self._holds = holds
        self._partings = partings
        self._readers: set[EventReader] = set()
        self._by_key: Counter[KeyId] = Counter()
        self._closing = False
        self.gaps = 0
        self.dropped_slow = 0

    def __len__(self) -> int:
        return len(self._readers)

    def refusal(self, key_id: KeyId) -> Refusal | None:
        """Why no further stream may be opened by this key now, if it may not."""
        if self._by_key[key_id] >= _KEY_LIMIT:
            text = f"this key has {_KEY_LIMIT} event streams open, which is its limit: close some"
            return Refusal(Code.QUOTA, text, retry_after_s=_RETRY_AFTER_S)
        if len(self._readers) >= _LIMIT:
            text = f"{_LIMIT} event streams are open, which is the limit: come back later"
            return Refusal(Code.RATE, text, retry_after_s=_RETRY_AFTER_S)
        return None

    def known(self, job_id: JobId) -> Known | None:
        """What memory knows of a job that lives or ended a moment ago; the store knows the others."""
        job = self._jobs.get(job_id)
        if isinstance(job, DurableJob):
            return Known(job.identity.key_id, job.identity.cancel_on_disconnect)
        parting = None if self._partings is None else self._partings.find(job_id)
        return None if parting is None else Known(parting[0], clings=False)

    def open(self, job_id: JobId, key_id: KeyId, after: int) -> EventReader | Refusal:
        """Take a reader in; forget() must follow."""
        refusal = self.refusal(key_id)
        if refusal is not None:
            return refusal
        reader = EventReader(job_id, key_id, after, self._clock.monotonic_s())
        self._readers.add(reader)
        self._by_key[key_id] += 1
        return reader

    def forget(self, reader: EventReader) -> None:
        """The handler is done with it."""
        if reader in self._readers:
            self._readers.discard(reader)
            self._by_key[reader.key_id] -= 1
            if not self._by_key[reader.key_id]:
                del self._by_key[reader.key_id]

    async def feed(self, reader: EventReader, send: _Send) -> None:
        """Send the client what it shall get next, to the terminal event and the stream's end."""
        now = self._clock.monotonic_s
        while not reader.done:
            farewell = self._farewell(reader)
            data, ended = (farewell, True) if farewell else await self._next(reader)
            # Who ended it meanwhile has no more to say to its client.
            if (data or ended) and not reader.done:
                # The end of the body too waits for a client that does not read.
                reader.done = ended
                reader.sending = True
                reader.sent_at = now()
                await send(data, more=not ended)
                reader.sending = False
                reader.sent_at = now()

    def sweep(self) -> None:
        """Look once a second at who needs a keep-alive and whose stream has to end."""
        now = self._clock.monotonic_s()
        valid = {key_id: self._holds(key_id) for key_id in self._by_key}
        for reader in list(self._readers):
            silent_s = now - reader.sent_at
            if not valid[reader.key_id]:
                self._revoke(reader)
            elif reader.sending:
                if silent_s > self._slow_reader_s:
                    self.dropped_slow += not reader.dropped
                    self._drop(reader)
            elif silent_s >= self._keepalive_s:
                reader.keepalive_due = True
                _wake(reader)

    def close(self) -> None:
        """Tell every reader that the daemon restarts; they come back with their last id."""
        self._closing = True
        for reader in self._readers:
            _wake(reader)

    def _revoke(self, reader: EventReader) -> None:
        if reader.revoked or reader.sending:
            # It was told a second ago, or takes nothing that it could be told.
            self._drop(reader)
        reader.revoked = True
        _wake(reader)

    def _drop(self, reader: EventReader) -> None:
        reader.done = reader.dropped = True
        if reader.patience is not None:
            run_out(reader.patience)

    def _farewell(self, reader: EventReader) -> bytes:
        if reader.revoked:
            return _REVOKED
        return _RESTARTING if self._closing else b""

    async def _next(self, reader: EventReader) -> tuple[bytes, bool]:
        job = self._jobs.get(reader.job_id)
        if isinstance(job, DurableJob):
            # The log outlives the job's place among the live ones, for whoever reads it still.
            reader.log = job.log
        elif reader.log is None and self._partings is not None:
            parting = self._partings.find(reader.job_id)
            reader.log = None if parting is None else parting[1]
        log = reader.log
        frames = None if log is None else log.after(reader.cursor)
        if log is None or frames is None:
            return await self._from_store(reader)
        if frames:
            data, taken = _piece(frames)
            reader.cursor += taken
            return data, log.ended and reader.cursor >= log.last_seq
        if log.ended:
            return b"", True
        if reader.keepalive_due:
            reader.keepalive_due = False
            return _KEEPALIVE, False
        await log.woken()
        return b"", False

    async def _from_store(self, reader: EventReader) -> tuple[bytes, bool]:
        rows = await self._store.events_after(reader.job_id, reader.cursor, _PAGE)
        if not rows:
            # Nothing can follow on disk: the client has the terminal event, or it was purged.
            if reader.log is None or reader.log.ended:
                return b"", True
            await reader.log.woken()
            return b"", False
        gap = self._gap(reader.cursor + 1, rows[0].seq - 1)
        data, taken = _piece([event_frame(row.seq, row.kind, row.data) for row in rows])
        last = rows[taken - 1]
        reader.cursor = last.seq
        return gap + data, is_terminal(last.kind)

    def _gap(self, first: int, last: int) -> bytes:
        """Say which events were deleted; it is no event of the job itself and has no id."""
        if first > last:
            return b""
        self.gaps += 1
        return sse.encode(event="gap", data=orjson.dumps({"from": first, "to": last}).decode())


def _wake(reader: EventReader) -> None:
    if reader.log is not None:
        reader.log.wake()


def _piece(frames: Sequence[bytes]) -> tuple[bytes, int]:
    """Join the first frames to about one piece; tells how many they are."""
    size, taken = 0, 0
    while taken < len(frames) and size < _PIECE_BYTES:
        size += len(frames[taken])
        taken += 1
    return b"".join(frames[:taken]), taken
