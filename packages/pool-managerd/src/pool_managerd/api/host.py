"""The pool as a whole: health, status, devices, metrics."""

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from orchestrator_core.contracts.base import Fact
from orchestrator_core.contracts.control import Health
from orchestrator_core.contracts.pool import DeviceReport
from pool_managerd.api.replies import reply
from pool_managerd.runtime.pool import Pool

__all__ = ["DeviceList", "HostApi", "PoolHealth"]


class PoolHealth(Health):
    """Tells "already running" from "a foreign service on our port"."""

    product: str
    instance: str


class DeviceList(Fact):
    """All devices of a pool."""

    items: list[DeviceReport]


class HostApi:
    """Answers about this host."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def health(self) -> Response:
        """Say that this is a pool-managerd, and nothing more."""
        return reply(PoolHealth(status="ok", product="pool-managerd", instance=self._pool.instance))

    async def status(self) -> Response:
        """Summarise the pool."""
        return reply(self._pool.status())

    async def devices(self) -> Response:
        """List the devices."""
        return reply(DeviceList(items=self._pool.devices.reports()))

    async def metrics(self) -> Response:
        """Render the metrics for a scraper."""
        return Response(self._pool.metrics.render(), headers={"content-type": CONTENT_TYPE_LATEST})
