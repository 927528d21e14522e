"""Asks workers whether they have let go of attempts that were cut short, and tells the machine.

Until then their slots count as taken, so that no job ever queues inside an engine. One task per
worker asks, and only while something of it was cut: engines that are asked more often than once a
second have been seen to miss a closed connection.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from orchestrator_core.errors import LlorchError
from orchestrator_core.ids import JobId, PoolId, WorkerId
from orchestrator_core.scheduler.events import Event, SlotsSeenIdle
from orchestrator_core.units import MIB
from orchestratord.runtime.workerbook import WorkerAddress, WorkerBook
from orchestratord.serving.attempts.slot_reading import Silence, let_go, read_slots
from orchestratord.upstream.plain import call
from orchestratord.upstream.road import DIRECT

__all__ = ["Cut", "SlotWatch", "WatchPace"]

_log: Final = structlog.stdlib.get_logger()

_LIMIT_BYTES: Final = 4 * MIB
_LEAST_S: Final = 0.1

WorkerKey = tuple[PoolId, WorkerId]


@dataclass(frozen=True, slots=True)
class WatchPace:
    """How soon a worker is asked, how often, how long one answer may take, and when to give up.

    A worker that cannot be reached is not given up before away_s: it may compute all the while,
    and its far end learns only after the cut that nobody listens.
    """

    first_look_s: float = 0.05
    period_s: float = 1.0
    answer_s: float = 5.0
    patience_s: float = 10.0
    away_s: float = 180.0
    heal_s: float = 60.0


@dataclass(slots=True)
class _Patience:
    """Until when a worker is asked for a cut attempt, and until when while it cannot be reached."""

    until: float
    away_until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """An attempt that we have broken off while its worker may still be computing it."""

    job_id: JobId
    attempt: int
    worker: WorkerAddress
    slots: int = 1


class SlotWatch:
    """Everything that was cut and has not been seen idle yet."""

    def __init__(
        self,
        *,
        book: WorkerBook,
        tasks: asyncio.TaskGroup,
        now: Callable[[], float],
        post: Callable[[Event], None],
        held: Callable[[WorkerAddress], int],
        pace: WatchPace = WatchPace(),
    ) -> None:
        self._book = book
        self._tasks = tasks
        self._now = now
        self._post = post
        self._held = held
        self._pace = pace
        self._cuts: dict[WorkerKey, dict[Cut, _Patience]] = {}
        self._watches: dict[WorkerKey, asyncio.Task[None]] = {}
        self._looked_at: dict[WorkerKey, float] = {}
        self.unconfirmed = 0

    def __len__(self) -> int:
        return sum(map(len, self._cuts.values()))

    def expect(self, cut: Cut) -> None:
        """Tell the machine once that this attempt's slots are idle, as soon as they are."""
        if cut.worker.external is not None:
            # An engine that is not ours says nothing of its slots.
            self._tell(cut)
            return
        key = (cut.worker.pool_id, cut.worker.worker_id)
        now, pace = asyncio.get_running_loop().time(), self._pace
        patience = _Patience(now + pace.patience_s, now + pace.away_s)
        self._cuts.setdefault(key, {})[cut] = patience
        if key not in self._watches:
            watch = self._tasks.create_task(self._watch(key), name=f"slots of {key[1]}")
            self._watches[key] = watch

    def close(self) -> None:
        """Ask nobody any more: the daemon stops."""
        self._cuts.clear()
        for watch in self._watches.values():
            watch.cancel()
        self._watches.clear()

    async def _watch(self, key: WorkerKey) -> None:
        loop = asyncio.get_running_loop()
        while self._cuts.get(key):
            asked_at = self._looked_at.get(key, -self._pace.period_s)
            due = asked_at + self._pace.period_s - loop.time()
            await asyncio.sleep(max(due, self._pace.first_look_s))
            self._looked_at[key] = loop.time()
            await self._look(key)
        # Cleaned up without an await in between: a cut that comes now starts a new watch.
        self._cuts.pop(key, None)
        self._watches.pop(key, None)
        self._forget_old_looks()

    async def _look(self, key: WorkerKey) -> None:
        # What is cut while the worker answers is not in its answer.
        cuts = list(self._cuts[key])
        worker = cuts[0].worker
        held = self._held(worker)
        found = await self._ask(worker, min(it.until for it in self._cuts[key].values()))
        current = self._book.find(*key)
        alive = [cut for cut in cuts if current and cut.worker.is_same_process(current)]
        for cut in cuts:
            if found is Silence.GONE or cut not in alive:
                self._release(key, cut)
            elif found is Silence.MUTE:
                self._give_up(key, cut, "the worker does not tell")
        if isinstance(found, int):
            # An attempt that began or ended meanwhile must not pass for one that was cut.
            held = min(held, self._held(worker))
            for place in list(let_go([cut.slots for cut in alive], busy=found, held=held)):
                self._release(key, alive[place])
        if found is Silence.AWAY:
            self._be_patient(key)
        self._run_out_of_patience(key)

    def _be_patient(self, key: WorkerKey) -> None:
        """Begin to count once the worker can be asked."""
        until = asyncio.get_running_loop().time() + self._pace.heal_s
        for patience in self._cuts[key].values():
            patience.until = min(until, patience.away_until)

    async def _ask(self, worker: WorkerAddress, until: float) -> int | Silence:
        current = self._book.find(worker.pool_id, worker.worker_id)
        if current is None or not worker.is_same_process(current):
            return Silence.UNCLEAR
        left_s = until - asyncio.get_running_loop().time()
        with contextlib.suppress(LlorchError):
            answer = await call(
                (worker.host, worker.port),
                "GET",
                "/slots",
                bearer=worker.key,
                body=b"",
                timeout_s=min(max(left_s, _LEAST_S), self._pace.answer_s),
                limit_bytes=_LIMIT_BYTES,
                # That of a newer session: what led there at the cut may be down for good.
                road=current.road,
            )
            return read_slots(answer, far=current.road is not DIRECT)
        return Silence.UNCLEAR

    def _run_out_of_patience(self, key: WorkerKey) -> None:
        time = asyncio.get_running_loop().time()
        for cut, patience in list(self._cuts[key].items()):
            if time >= patience.until:
                self._give_up(key, cut, "still busy, or not to be reached, for too long")

    def _give_up(self, key: WorkerKey, cut: Cut, reason: str) -> None:
        if cut in self._cuts[key]:
            self.unconfirmed += 1
            _log.warning(
                "cancel.unconfirmed",
                job_id=cut.job_id,
                attempt=cut.attempt,
                worker_id=cut.worker.worker_id,
                reason=reason,
            )
            self._release(key, cut)

    def _release(self, key: WorkerKey, cut: Cut) -> None:
        if self._cuts[key].pop(cut, None) is not None:
            self._tell(cut)

    def _tell(self, cut: Cut) -> None:
        self._post(
            SlotsSeenIdle(
                at=self._now(),
                job_id=cut.job_id,
                attempt=cut.attempt,
                worker_id=cut.worker.worker_id,
            )
        )

    def _forget_old_looks(self) -> None:
        limit = asyncio.get_running_loop().time() - self._pace.period_s
        self._looked_at = {key: at for key, at in self._looked_at.items() if at > limit}
