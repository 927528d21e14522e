"""Carries the machine's commands out, each by the part of the daemon that owns the effect."""

from collections.abc import Callable
from typing import Protocol, assert_never

from orchestrator_core.ids import JobId
from orchestrator_core.scheduler.commands import (
    CancelAttempt,
    Command,
    Dispatch,
    Finish,
    PersistDispatched,
    PersistRequeued,
    PersistRunning,
    StartWorker,
    StopWorker,
)
from orchestratord.runtime.jobs.live import LiveJob, LiveJobs

__all__ = ["Attempts", "Orders", "Performer"]


class Attempts(Protocol):
    """Who owns the sockets to the workers."""

    def dispatch(self, command: Dispatch) -> None:
        """Open an attempt's socket."""
        ...

    def cancel(self, command: CancelAttempt) -> None:
        """Close an attempt's socket."""
        ...


class Orders(Protocol):
    """Who talks to the pools."""

    def start_worker(self, command: StartWorker) -> None:
        """Order a worker."""
        ...

    def stop_worker(self, command: StopWorker) -> None:
        """Stop a worker."""
        ...


class Performer:
    """The seam between decisions and effects."""

    def __init__(
        self,
        *,
        jobs: LiveJobs,
        attempts: Attempts,
        orders: Orders,
        on_finish: Callable[[Finish], None],
    ) -> None:
        self._jobs = jobs
        self._attempts = attempts
        self._orders = orders
        self._on_finish = on_finish

    def perform(self, command: Command) -> None:
        """Do one command; failures come back as facts."""
        match command:
            case Dispatch():
                self._attempts.dispatch(command)
            case CancelAttempt():
                self._attempts.cancel(command)
            case StartWorker():
                self._orders.start_worker(command)
            case StopWorker():
                self._orders.stop_worker(command)
            case PersistDispatched() | PersistRunning() | PersistRequeued() | Finish():
                self._record(command)
            case _:
                assert_never(command)

    def _record(
        self, command: PersistDispatched | PersistRunning | PersistRequeued | Finish
    ) -> None:
        job = self._job(command.job_id)
        match command:
            case PersistDispatched():
                job.on_dispatched(command)
            case PersistRunning():
                job.on_running(command)
            case PersistRequeued():
                job.on_requeued(command)
            case Finish():
                job.on_finish(command)
                self._on_finish(command)

    def _job(self, job_id: JobId) -> LiveJob:
        job = self._jobs.get(job_id)
        if job is None:
            raise LookupError(f"the machine gave an order for {job_id}, which is not alive")
        return job
