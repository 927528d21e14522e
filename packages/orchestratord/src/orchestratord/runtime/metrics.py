"""What Prometheus reads: counters that the loop's commands move, gauges taken at scrape time."""

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from orchestrator_core.jobs.states import TERMINAL
from orchestrator_core.scheduler.commands import Finish

__all__ = ["Metrics"]


class _Gauges(Collector):
    """Asks the daemon's parts only when somebody scrapes."""

    def __init__(self, read: Callable[[], Mapping[str, tuple[str, float]]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        for name, (text, value) in self._read().items():
            yield GaugeMetricFamily(name, text, value=value)


class Metrics:
    """The daemon's own registry; nothing global."""

    def __init__(self, gauges: Callable[[], Mapping[str, tuple[str, float]]]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Gauges(gauges))
        finished = Counter(
            "orchd_jobs_finished",
            "Jobs that reached their one final state",
            ("status",),
            registry=self.registry,
        )
        self._finished = {status: finished.labels(status.value) for status in TERMINAL}
        self._tokens = Counter(
            "orchd_tokens_out", "Tokens of finished answers", registry=self.registry
        )

    def finished(self, command: Finish) -> None:
        """Count an ended job."""
        self._finished[command.status].inc()
        self._tokens.inc(command.tokens_out)
