"""All pumps of the daemon: performs Dispatch and CancelAttempt, at most one pump per job.

What is cut while its worker may still compute it goes on to the slot watch, which tells the
machine when the slots are free.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.clock import Clock
from orchestrator_core.errors import Code
from orchestrator_core.ids import JobId
from orchestrator_core.scheduler.commands import CancelAttempt, Dispatch
from orchestrator_core.scheduler.events import (
    AttemptAccepted,
    AttemptBroken,
    AttemptEnded,
    Event,
    SlotsSeenIdle,
)
from orchestratord.runtime.jobs.live import LiveJobs
from orchestratord.runtime.workerbook import WorkerAddress, WorkerBook
from orchestratord.serving.attempts.pump import Pump
from orchestratord.serving.attempts.slot_watch import Cut, SlotWatch
from orchestratord.settings import OrchestratorSettings

__all__ = ["Pumps"]

_TOLD_AT_ONCE: Final = 200
# Sweeps that are further apart than this were not ours to make: we slept, or were held up.
_DEAF_S: Final = 5.0


@dataclass(slots=True, eq=False)
class _Carried:
    """An attempt on its way: `answered` once its worker has taken it, `over` with its last fact."""

    job_id: JobId
    attempt: int
    worker: WorkerAddress
    slots: int
    answered: bool = False
    over: bool = False
    watched: bool = False

    def as_cut(self) -> Cut:
        return Cut(job_id=self.job_id, attempt=self.attempt, worker=self.worker, slots=self.slots)


class Pumps:
    """Owns the sockets to the workers."""

    def __init__(
        self,
        *,
        jobs: LiveJobs,
        book: WorkerBook,
        clock: Clock,
        settings: OrchestratorSettings,
        tasks: asyncio.TaskGroup,
        post: Callable[[Event], None],
        slots_of: Callable[[JobId], int] = lambda _: 1,
    ) -> None:
        self._jobs = jobs
        self._book = book
        self._clock = clock
        self._settings = settings
        self._tasks = tasks
        self._post = post
        self._slots_of = slots_of
        self._pumps: dict[JobId, Pump] = {}
        self._carried: dict[JobId, _Carried] = {}
        self._told_up_to = 0
        self._swept_at: float | None = None
        self.watch = SlotWatch(
            book=book, tasks=tasks, now=clock.monotonic_s, post=post, held=self._held
        )

    def __len__(self) -> int:
        return len(self._pumps)

    def dispatch(self, command: Dispatch) -> None:
        """Open the attempt's socket."""
        self._close(command.job_id)
        job = self._jobs.get(command.job_id)
        worker = self._book.find(command.pool_id, command.worker_id)
        if job is None or worker is None:
            self._post(
                AttemptBroken(
                    at=self._clock.monotonic_s(),
                    job_id=command.job_id,
                    attempt=command.attempt,
                    reason=Code.WORKER_LOST,
                    message="the worker's address is not known any more",
                    retriable=True,
                    tokens_kept=command.keep_tokens,
                    resumable=command.keep_tokens > 0,
                )
            )
            return
        carried = _Carried(command.job_id, command.attempt, worker, self._slots_of(command.job_id))
        pump = Pump(
            job=job,
            attempt=command.attempt,
            worker=worker,
            post=lambda event: self._pass_on(carried, event),
            now=self._clock.monotonic_s,
            connect_timeout_s=self._settings.connect_timeout_s,
            keep_tokens=command.keep_tokens,
        )
        self._pumps[command.job_id] = pump
        self._carried[command.job_id] = carried
        self._tasks.create_task(self._carry(carried, pump), name=f"pump {command.job_id}")

    def cancel(self, command: CancelAttempt) -> None:
        """Close the attempt's socket; its slots count as taken until they are seen idle."""
        carried = self._carried.get(command.job_id)
        if carried is None or carried.attempt != command.attempt or carried.over:
            if carried is None or not carried.watched:
                # It has ended by itself, or never began: nobody computes it.
                self._tell_idle(command)
            return
        self._close(command.job_id)
        self.watch.expect(carried.as_cut())

    def sweep(self) -> None:
        """Find silent and stuck attempts; called once a second."""
        loop_time = asyncio.get_running_loop().time()
        silence_s, stall_s = self._settings.silence_s, self._settings.stall_s
        pumps = list(self._pumps.values())
        before, self._swept_at = self._swept_at, loop_time
        if before is not None and loop_time - before > _DEAF_S:
            # What the workers said meanwhile has not been read yet.
            for pump in pumps:
                pump.listen_anew(loop_time)
        for pump in pumps:
            pump.check(loop_time=loop_time, silence_s=silence_s, stall_s=stall_s)
        self._tell_progress(pumps)

    def _tell_progress(self, pumps: Sequence[Pump]) -> None:
        """Report for some of many attempts at a time: all at once would hold up every token."""
        first = self._told_up_to if self._told_up_to < len(pumps) else 0
        self._told_up_to = first + _TOLD_AT_ONCE
        for pump in pumps[first : self._told_up_to]:
            pump.tell_progress()

    def close(self) -> None:
        """Close every socket: the daemon stops."""
        self.watch.close()
        for job_id in list(self._pumps):
            self._close(job_id)

    def _close(self, job_id: JobId) -> None:
        carried, pump = self._carried.pop(job_id, None), self._pumps.pop(job_id, None)
        if carried is not None:
            carried.over = True
        if pump is not None:
            pump.close()

    def _pass_on(self, carried: _Carried, event: Event) -> None:
        """Note what concerns the slots, and tell the machine first: its next order may be here."""
        match event:
            case AttemptAccepted():
                carried.answered = True
                self._post(event)
            case AttemptBroken(computing=True):
                carried.over = carried.watched = True
                self._post(event)
                self.watch.expect(carried.as_cut())
            case AttemptBroken() | AttemptEnded():
                carried.over = True
                self._post(event)
            case _:
                self._post(event)

    def _held(self, worker: WorkerAddress) -> int:
        """Count the slots of a worker that attempts hold which it has taken and which go on."""
        return sum(
            carried.slots
            for carried in self._carried.values()
            if carried.answered and not carried.over and carried.worker.is_same_process(worker)
        )

    def _tell_idle(self, command: CancelAttempt) -> None:
        self._post(
            SlotsSeenIdle(
                at=self._clock.monotonic_s(),
                job_id=command.job_id,
                attempt=command.attempt,
                worker_id=command.worker_id,
            )
        )

    async def _carry(self, carried: _Carried, pump: Pump) -> None:
        await pump.run()
        if self._pumps.get(carried.job_id) is pump:
            del self._pumps[carried.job_id]
            del self._carried[carried.job_id]
