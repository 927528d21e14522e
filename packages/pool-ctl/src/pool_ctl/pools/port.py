"""What a command asks of a pool; the answers are the same with a daemon and without one."""

from collections.abc import Iterator
from typing import Protocol

from orchestrator_core.contracts.pool import (
    DeviceReport,
    PoolStatusView,
    SpawnRequest,
    StopRequest,
    WorkerReport,
)

__all__ = ["PoolPort"]


class PoolPort(Protocol):
    """The pool of one host; an expected failure is raised as an error of the tree."""

    @property
    def daemon_url(self) -> str | None:
        """Where the daemon listens that gave the last answer; None when no daemon did."""
        ...

    def status(self) -> PoolStatusView:
        """The pool at a glance."""
        ...

    def devices(self) -> list[DeviceReport]:
        """What the host computes with."""
        ...

    def workers(self) -> list[WorkerReport]:
        """All workers, without their keys."""
        ...

    def spawn(self, order: SpawnRequest) -> WorkerReport:
        """Start a worker; its process is there and recorded when this returns."""
        ...

    def look(self, started: WorkerReport) -> WorkerReport | None:
        """The newest word about a worker that is starting; in nobody's way, so it may be asked often.

        None means that the pool does not know it any more.
        """
        ...

    def stop(self, worker: str, order: StopRequest) -> WorkerReport:
        """Stop a worker by id or name; it is gone when this returns."""
        ...

    def logs(self, worker: str, *, tail: int, follow: bool) -> Iterator[str]:
        """The last lines that a worker has written, and then every new one if asked."""
        ...
