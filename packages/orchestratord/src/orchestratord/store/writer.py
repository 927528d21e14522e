"""The one thread that writes: it takes all that waits, commits it as one group, tells the loop.

Writes come from the event loop through a bounded queue; their outcomes go back to it in order,
with one wake-up per group. Only this thread touches the writing connection. While the disk is full
the writes of work in progress wait here and are tried again, and new work is refused.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final

from orchestrator_core.errors import CapacityError, Code, HostError, LlorchError, Refusal
from orchestratord.store.database import close_database
from orchestratord.store.faults import DISK_RETRY_AFTER_S, disk_full, error_of
from orchestratord.store.groups import DiskFullError, GroupCommit, StoreFailedError
from orchestratord.store.outcomes import Entry, settle, tell_applied
from orchestratord.store.port import POST_HEADROOM, OnCommit, Outcome
from orchestratord.store.statements import Statements
from orchestratord.store.writes import Write

__all__ = ["FULL_RETRY_S", "GROUP_LIMIT", "QUEUE_LIMIT", "Writer"]

GROUP_LIMIT: Final = 512
QUEUE_LIMIT: Final = 65_536
FULL_RETRY_S: Final = 1.0

_STARVED_AFTER_S: Final = 0.005
_MAKE_WAY_S: Final = 0.002


class Writer:
    """Owns the writing connection and the order of all writes."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        sql: Mapping[str, str],
        *,
        group_limit: int = GROUP_LIMIT,
        queue_limit: int = QUEUE_LIMIT,
        make_room: Callable[[], bool] = lambda: False,
        full_retry_s: float = FULL_RETRY_S,
        on_failure: Callable[[LlorchError], None] = lambda _: None,
    ) -> None:
        self._connect = connect
        self._sql = sql
        self._group_limit = group_limit
        self._queue_limit = queue_limit
        self._make_room = make_room
        self._full_retry_s = full_retry_s
        self._on_failure = on_failure
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[Entry | None] = SimpleQueue()
        self._waiting = 0
        self._closed = False
        self._closing = threading.Event()
        # Only the thread touches it: what waits for space, in its order.
        self._held: list[Entry] = []
        # Held by the thread while it computes, free while it waits for work or for the disk.
        self._turn = threading.Lock()
        self._watch: asyncio.TimerHandle | None = None
        self._groups_settled = 0
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        # A daemon thread: a crashed loop must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self.failed: LlorchError | None = None
        self.full = False
        self.on_applied: Callable[[Write], None] | None = None

    @property
    def waiting(self) -> int:
        """How many writes wait for their COMMIT."""
        return self._waiting

    async def open(self) -> None:
        """Start the thread and wait until it has opened the file."""
        self._thread.start()
        # Shielded: whoever stops waiting here still closes what the thread has opened.
        await asyncio.shield(self._opened)

    def submit(self, write: Write) -> asyncio.Future[int]:
        """Queue a write whose outcome is awaited."""
        if self.full:
            text = "the disk under the store is full: free space, then try again"
            raise CapacityError(Refusal(Code.DISK_LOW, text, retry_after_s=DISK_RETRY_AFTER_S))
        self._admit(self._queue_limit)
        future: asyncio.Future[int] = self._loop.create_future()
        if self.on_applied is not None:
            # As a callback of the future it runs in the context of whoever asked.
            future.add_done_callback(partial(tell_applied, self.on_applied, write))
        self._queue.put(Entry(write, future))
        return future

    def post(self, write: Write, on_commit: OnCommit | None = None) -> None:
        """Queue a write that rides along."""
        try:
            self._admit(self._queue_limit * POST_HEADROOM)
        except CapacityError as error:
            # What follows on a lost write would not fit the rows any more.
            self._on_failure(error)
            raise
        self._queue.put(Entry(write, None, on_commit))

    async def close(self) -> None:
        """Carry out all that waits, close the file in order and end the thread."""
        if not self._closed:
            self._closed = True
            self._closing.set()
            self._queue.put(None)
        await asyncio.shield(self._ended)

    def _admit(self, limit: int) -> None:
        if self.failed is not None:
            raise self.failed
        if self._closed:
            raise HostError(Refusal(Code.DRAINING, "the store is closed"))
        if self._waiting >= limit:
            text = f"{self._waiting} writes wait for the disk already"
            raise CapacityError(Refusal(Code.QUEUE_FULL, text, retry_after_s=1))
        self._waiting += 1
        if self._watch is None and not self.full:
            self._watch_progress()

    def _watch_progress(self) -> None:
        self._watch = self._loop.call_later(_STARVED_AFTER_S, self._make_way, self._groups_settled)

    def _make_way(self, groups_before: int) -> None:
        """Stand aside for a moment when the loop's own work keeps the thread from running.

        Each statement gives up the interpreter's lock, and a loop that never rests takes it back
        first, so that one group could last for seconds.
        """
        self._watch = None
        if self._waiting == 0 or self.full:
            return
        if self._groups_settled == groups_before and self._turn.acquire(timeout=_MAKE_WAY_S):
            self._turn.release()
        self._watch_progress()

    # The thread's side.

    def _run(self) -> None:
        try:
            connection = self._connect()
        except LlorchError as error:
            self._tell(self._opening_failed, error)
            return
        except Exception as error:
            self._tell(self._opening_failed, error)
            raise
        self._tell(self._opened.set_result, None)
        works = False
        try:
            statements = Statements(connection, self._sql)
            works = self._serve(GroupCommit(connection, statements, self._turn))
        finally:
            self._leave(connection, works=works)

    def _serve(self, groups: GroupCommit) -> bool:
        """Commit groups until the store is closed; False when it failed on the way."""
        goes_on = True
        entries: list[Entry] = []
        while goes_on:
            entries, goes_on = self._next_group()
            if not entries and not self._held:
                return True
            try:
                if self._held:
                    self._try_again(groups, entries)
                else:
                    self._commit(groups, entries)
            except StoreFailedError as error:
                self._refuse_until_closed(error.cause, self._held or entries)
                return False
            except Exception as error:
                # The edge of the thread: a fault of ours must not leave anybody waiting for ever.
                self._refuse_until_closed(error_of(error), self._held or entries)
                raise
        return not self._give_up_held()

    def _commit(self, groups: GroupCommit, entries: list[Entry]) -> None:
        writes = [entry.write for entry in entries]
        try:
            with self._turn:
                try:
                    outcomes = groups.commit(writes)
                except DiskFullError:
                    if not self._make_room():
                        raise
                    groups.fold()
                    outcomes = groups.commit(writes)
                self._tell(self._settle, entries, outcomes)
        except DiskFullError:
            self._hold(entries)

    def _hold(self, entries: Sequence[Entry]) -> None:
        """Refuse new work, and keep what follows from work in progress until there is room."""
        self._refuse(entries)
        self._held = [entry for entry in entries if entry.future is None]
        if self._held:
            self._tell(self._note_full, True)

    def _try_again(self, groups: GroupCommit, fresh: Sequence[Entry]) -> None:
        """Carry out what is held, in its order, once the disk has had a moment."""
        self._refuse(fresh)
        self._held += [entry for entry in fresh if entry.future is None]
        groups.fold()
        try:
            while self._held:
                group = self._held[: self._group_limit]
                with self._turn:
                    outcomes = groups.commit([entry.write for entry in group])
                    self._tell(self._settle, group, outcomes)
                del self._held[: len(group)]
        except DiskFullError:
            self._make_room()
        else:
            self._tell(self._note_full, False)

    def _refuse(self, entries: Sequence[Entry]) -> None:
        refused = [entry for entry in entries if entry.future is not None]
        if refused:
            self._tell(self._settle, refused, [disk_full()] * len(refused))

    def _give_up_held(self) -> bool:
        """Tell those who still wait at the end that the disk never had room for them."""
        held, self._held = self._held, []
        if held:
            self._tell(self._settle, held, [disk_full()] * len(held))
        return bool(held)

    def _next_group(self) -> tuple[list[Entry], bool]:
        """Wait for one write, then take what else is there; False when it is the last group."""
        entries: list[Entry] = []
        take = self._queue.get_nowait
        try:
            if self._held:
                self._closing.wait(self._full_retry_s)
                entry = take()
            else:
                entry = self._queue.get()
            while entry is not None:
                entries.append(entry)
                if len(entries) >= self._group_limit:
                    return entries, True
                entry = take()
        except Empty:
            return entries, True
        return entries, False

    def _refuse_until_closed(self, cause: LlorchError, entries: Sequence[Entry]) -> None:
        """Answer these, and what was queued before the loop knew that the store has failed."""
        self._held = []
        self._tell(self._fail, cause, entries)
        goes_on = True
        while goes_on:
            entries, goes_on = self._next_group()
            self._tell(self._settle, entries, [cause] * len(entries))

    def _leave(self, connection: sqlite3.Connection, *, works: bool) -> None:
        try:
            if works:
                close_database(connection, self._sql)
            else:
                connection.close()
        except sqlite3.Error as error:
            self._tell(self._end, error_of(error))
        else:
            self._tell(self._end, None)

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # The loop is closed: nobody is left who could be told.
            return

    # Back on the loop's thread.

    def _settle(self, entries: Sequence[Entry], outcomes: Sequence[Outcome]) -> None:
        self._waiting -= len(entries)
        self._groups_settled += 1
        applied = self.on_applied
        for entry, outcome in zip(entries, outcomes, strict=True):
            settle(self._loop, entry, outcome)
            if applied is not None and entry.future is None and isinstance(outcome, int):
                applied(entry.write)

    def _note_full(self, full: bool) -> None:  # noqa: FBT001 - the thread tells it by position.
        self.full = full
        if not full and self._waiting and self._watch is None:
            self._watch_progress()

    def _fail(self, cause: LlorchError, entries: Sequence[Entry]) -> None:
        self.failed = cause
        self._on_failure(cause)
        self._settle(entries, [cause] * len(entries))

    def _opening_failed(self, error: Exception) -> None:
        self._closed = True
        self._opened.set_exception(error)
        self._ended.set_result(None)

    def _end(self, error: LlorchError | None) -> None:
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)
