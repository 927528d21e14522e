"""A pool that is spoken for by its daemon, over HTTP."""

from collections.abc import Iterator

from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.contracts.pool import (
    DeviceReport,
    PoolStatusView,
    SpawnRequest,
    StopRequest,
    WorkerReport,
)

__all__ = ["HttpPool"]


class HttpPool:
    """Asks a pool-managerd."""

    def __init__(self, client: PoolClient) -> None:
        self._client = client

    @property
    def daemon_url(self) -> str | None:
        """Where the daemon listens."""
        return self._client.peer.url

    def status(self) -> PoolStatusView:
        """The pool at a glance."""
        return self._client.status()

    def devices(self) -> list[DeviceReport]:
        """What the host computes with."""
        return self._client.devices()

    def workers(self) -> list[WorkerReport]:
        """All workers."""
        return self._client.workers().items

    def spawn(self, order: SpawnRequest) -> WorkerReport:
        """Order a worker."""
        return self._client.spawn(order)

    def look(self, started: WorkerReport) -> WorkerReport | None:
        """Find a worker in the list."""
        return next((report for report in self.workers() if report.id == started.id), None)

    def stop(self, worker: str, order: StopRequest) -> WorkerReport:
        """Stop a worker."""
        return self._client.stop(worker, order)

    def logs(self, worker: str, *, tail: int, follow: bool) -> Iterator[str]:
        """Lines as the daemon sends them."""
        return self._client.logs(worker, tail=tail, follow=follow)
