"""The daemon's Prometheus metrics: counters fed by happenings, gauges read at each scrape."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orchestrator_core.contracts.pool import (
    DeviceReport,
    ModelReport,
    Owner,
    WorkerReport,
    WorkerStatus,
)
from pool_managerd.runtime.device_gauges import device_gauges
from pool_managerd.runtime.model_gauges import DownloadTally, model_gauges
from pool_managerd.runtime.relay_gauges import RelayTally, relay_gauges
from pool_managerd.runtime.tally import Happening, WorkerEvent

__all__ = ["PoolMetrics"]

_START_OUTCOMES = {Happening.READY: "ready", Happening.START_FAILED: "failed"}
_STOP_REASONS = ("stop", "evict", "drain", "crash")


class PoolMetrics:
    """Owns the registry, so that two daemons in one test process never meet."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._starts = Counter(
            "pool_mgr_worker_starts",
            "Worker starts by how they ended.",
            ["outcome"],
            registry=self._registry,
        )
        self._stops = Counter(
            "pool_mgr_worker_stops",
            "Workers that ended, by reason.",
            ["reason"],
            registry=self._registry,
        )
        self._beats = Counter(
            "pool_mgr_heartbeats",
            "Words to the orchestrator by what they came to.",
            ["outcome"],
            registry=self._registry,
        )
        self._restarts = Counter(
            "pool_mgr_worker_restarts",
            "Processes that were started in the place of an ended one of the same worker.",
            registry=self._registry,
        )
        for outcome in _START_OUTCOMES.values():
            self._starts.labels(outcome)
        for reason in _STOP_REASONS:
            self._stops.labels(reason)

    def watch(
        self,
        devices: Callable[[], Sequence[DeviceReport]],
        workers: Callable[[], Sequence[WorkerReport]],
        connected: Callable[[], bool],
    ) -> None:
        """Say where the gauges are read from."""
        self._registry.register(_HostCollector(devices, workers, connected))

    def watch_models(
        self,
        models: Callable[[], Sequence[ModelReport]],
        downloads: Callable[[], DownloadTally],
    ) -> None:
        """Say where the gauges of models are read from."""
        self._registry.register(_ModelCollector(models, downloads))

    def watch_relays(self, relays: Callable[[], RelayTally]) -> None:
        """Say where the gauges of relays are read from."""
        self._registry.register(_RelayCollector(relays))

    def count(self, event: WorkerEvent, *, is_draining: bool = False) -> None:
        """Count a worker's happening."""
        if outcome := _START_OUTCOMES.get(event.happening):
            self._starts.labels(outcome).inc()
        if reason := _stop_reason(event, is_draining=is_draining):
            self._stops.labels(reason).inc()
        if event.happening is Happening.STARTING and event.worker.incarnation > 1:
            self._restarts.inc()

    def count_beat(self, outcome: str) -> None:
        """Count a word to the orchestrator."""
        self._beats.labels(outcome).inc()

    def render(self) -> bytes:
        """All metrics in the text format."""
        return generate_latest(self._registry)


class _HostCollector(Collector):
    def __init__(
        self,
        devices: Callable[[], Sequence[DeviceReport]],
        workers: Callable[[], Sequence[WorkerReport]],
        connected: Callable[[], bool],
    ) -> None:
        self._devices = devices
        self._workers = workers
        self._connected = connected

    def collect(self) -> Iterable[Metric]:
        """Read the gauges."""
        devices, workers = self._devices(), self._workers()
        link = GaugeMetricFamily("pool_mgr_orchestrator_connected", "1 while a session lives.")
        link.add_metric([], float(self._connected()))
        return [_worker_gauge(workers), *device_gauges(devices, workers), link]


class _ModelCollector(Collector):
    def __init__(
        self,
        models: Callable[[], Sequence[ModelReport]],
        downloads: Callable[[], DownloadTally],
    ) -> None:
        self._models = models
        self._downloads = downloads

    def collect(self) -> Iterable[Metric]:
        """Read the gauges."""
        return model_gauges(self._models(), self._downloads())


class _RelayCollector(Collector):
    def __init__(self, relays: Callable[[], RelayTally]) -> None:
        self._relays = relays

    def collect(self) -> Iterable[Metric]:
        """Read the gauges."""
        return relay_gauges(self._relays())


def _stop_reason(event: WorkerEvent, *, is_draining: bool) -> str | None:
    if event.happening is Happening.CRASHED:
        return "crash"
    if event.happening is not Happening.STOPPED:
        return None
    if is_draining:
        return "drain"
    # The orchestrator takes its own workers back to make room; a person just stops one.
    return "evict" if event.worker.owner is Owner.ORCHESTRATOR else "stop"


def _worker_gauge(workers: Sequence[WorkerReport]) -> Metric:
    tally = Tally(worker.status for worker in workers)
    family = GaugeMetricFamily(
        "pool_mgr_workers_total", "Workers of this host by status.", labels=["status"]
    )
    for status in WorkerStatus:
        family.add_metric([status.value], tally[status])
    return family
