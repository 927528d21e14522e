"""All pumps of the daemon: performs Dispatch and CancelAttempt, at most one pump per job."""

import asyncio
from collections.abc import Callable

from orchestrator_core.clock import Clock
from orchestrator_core.errors import Code
from orchestrator_core.ids import JobId
from orchestrator_core.scheduler.commands import CancelAttempt, Dispatch
from orchestrator_core.scheduler.events import AttemptBroken, Event
from orchestratord.runtime.live import LiveJobs
from orchestratord.runtime.workerbook import WorkerBook
from orchestratord.serving.pump import Pump
from orchestratord.settings import OrchestratorSettings

__all__ = ["Pumps"]


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
    ) -> None:
        self._jobs = jobs
        self._book = book
        self._clock = clock
        self._settings = settings
        self._tasks = tasks
        self._post = post
        self._pumps: dict[JobId, Pump] = {}

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
                )
            )
            return
        pump = Pump(
            job=job,
            attempt=command.attempt,
            worker=worker,
            post=self._post,
            now=self._clock.monotonic_s,
            connect_timeout_s=self._settings.connect_timeout_s,
        )
        self._pumps[command.job_id] = pump
        self._tasks.create_task(self._carry(command.job_id, pump), name=f"pump {command.job_id}")

    def cancel(self, command: CancelAttempt) -> None:
        """Close the attempt's socket."""
        pump = self._pumps.get(command.job_id)
        if pump is not None and pump.attempt == command.attempt:
            self._close(command.job_id)

    def sweep(self) -> None:
        """Find silent and stuck attempts; called once a second."""
        loop_time = asyncio.get_running_loop().time()
        for pump in list(self._pumps.values()):
            pump.check(
                loop_time=loop_time,
                silence_s=self._settings.silence_s,
                stall_s=self._settings.stall_s,
            )

    def close(self) -> None:
        """Close every socket: the daemon stops."""
        for job_id in list(self._pumps):
            self._close(job_id)

    def _close(self, job_id: JobId) -> None:
        pump = self._pumps.pop(job_id, None)
        if pump is not None:
            pump.close()

    async def _carry(self, job_id: JobId, pump: Pump) -> None:
        await pump.run()
        if self._pumps.get(job_id) is pump:
            del self._pumps[job_id]
