"""Where each worker listens and the key that opens it.

Filled from register and heartbeat only, kept in memory only, read by the pumps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from orchestrator_core.contracts.pool import WorkerReport
from orchestrator_core.ids import PoolId, WorkerId

__all__ = ["WorkerAddress", "WorkerBook"]


@dataclass(frozen=True, slots=True)
class WorkerAddress:
    """What it takes to talk to a worker; the key never shows in a repr."""

    worker_id: WorkerId
    name: str
    pool_id: PoolId
    host: str
    port: int
    model: str
    ctx: int | None
    key: str | None = field(repr=False, default=None)


class WorkerBook:
    """The addresses of all pools' workers."""

    def __init__(self) -> None:
        self._pools: dict[PoolId, dict[WorkerId, WorkerAddress]] = {}

    def replace(self, pool_id: PoolId, reports: Sequence[WorkerReport]) -> None:
        """Take a pool's full word."""
        addresses = (_address(pool_id, report) for report in reports)
        self._pools[pool_id] = {found.worker_id: found for found in addresses if found}

    def find(self, pool_id: PoolId, worker_id: WorkerId) -> WorkerAddress | None:
        """Look a worker up."""
        return self._pools.get(pool_id, {}).get(worker_id)

    def name_of(self, pool_id: str, worker_id: str) -> str | None:
        """A worker's name for people, while it is known."""
        found = self.find(PoolId(pool_id), WorkerId(worker_id))
        return found.name if found else None


def _address(pool_id: PoolId, report: WorkerReport) -> WorkerAddress | None:
    if report.url is None:
        return None
    parts = urlsplit(report.url)
    if parts.hostname is None or parts.port is None:
        return None
    return WorkerAddress(
        worker_id=WorkerId(report.id),
        name=report.name,
        pool_id=pool_id,
        host=parts.hostname,
        port=parts.port,
        model=report.model,
        ctx=report.spec.ctx,
        key=report.key.get_secret_value() if report.key else None,
    )
