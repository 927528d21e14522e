"""What Prometheus reads: counters that the loop's commands move, values taken at scrape time."""

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from orchestrator_core.contracts.tasks import JobStatus
from orchestrator_core.jobs.states import TERMINAL
from orchestrator_core.scheduler.commands import Finish, PersistRequeued
from orchestrator_core.scheduler.machine import Machine
from orchestratord.store.port import JobStore

__all__ = ["Gauges", "LoopLag", "Metrics", "job_ages", "store_gauges"]

Gauges = Mapping[str, tuple[str, float]]

_LAG_SAMPLES: Final = 300


class _Gauges(Collector):
    """Asks the daemon's parts only when somebody scrapes."""

    def __init__(self, read: Callable[[], Gauges]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        for name, (text, value) in self._read().items():
            # By the rules of names what ends so only ever grows.
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            yield family(name, text, value=value)


class Metrics:
    """The daemon's own registry; nothing global."""

    def __init__(self, gauges: Callable[[], Gauges]) -> None:
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
        self._broken = Counter(
            "orchd_attempts_broken",
            "Attempts that came to nothing and were made again",
            ("reason",),
            registry=self.registry,
        )

    def watch(self, gauges: Callable[[], Gauges]) -> None:
        """Ask for these too."""
        self.registry.register(_Gauges(gauges))

    def finished(self, command: Finish) -> None:
        """Count an ended job."""
        self._finished[command.status].inc()
        self._tokens.inc(command.tokens_out)

    def broken(self, command: PersistRequeued) -> None:
        """Count an attempt that broke."""
        self._broken.labels(command.reason).inc()


class LoopLag:
    """How late the event loop turns, from the lateness of a duty that is due once a second."""

    def __init__(self, now: Callable[[], float], period_s: float = 1.0) -> None:
        self._now = now
        self._period_s = period_s
        self._last: float | None = None
        self._lags_s: deque[float] = deque(maxlen=_LAG_SAMPLES)

    def look(self) -> None:
        """Take one sample; the sweeper calls it before its other checks."""
        now, last = self._now(), self._last
        self._last = now
        if last is not None:
            self._lags_s.append(max(0.0, now - last - self._period_s))

    def gauges(self) -> Gauges:
        """The lateness for whoever scrapes."""
        return {"orchd_loop_lag_p99_s": ("How late the loop turned, p99", self.p99_s())}

    def p99_s(self) -> float:
        """The lateness that one of a hundred of the last samples exceeds."""
        ordered = sorted(self._lags_s)
        return ordered[int(len(ordered) * 0.99)] if ordered else 0.0


def store_gauges(store: JobStore) -> Gauges:
    """How the store and its disk are."""
    vitals = store.vitals()
    gauges = {
        "orchd_store_writes_waiting": ("Writes that wait for the disk", vitals.writes_waiting),
        "orchd_store_log_bytes": ("Size of the store's log of writes", vitals.log_bytes),
        "orchd_disk_low": (
            "1 while new work is refused for want of space",
            store.low_on_space is not None,
        ),
    }
    if vitals.free_bytes is not None:
        gauges["orchd_disk_free_bytes"] = ("Free space under the store", vitals.free_bytes)
    return gauges


def job_ages(machine: Machine, now: float) -> Gauges:
    """How long the oldest jobs have waited or run."""
    oldest = dict.fromkeys((JobStatus.QUEUED, JobStatus.RUNNING), now)
    for job in machine.state.jobs.values():
        if job.status in oldest:
            oldest[job.status] = min(oldest[job.status], job.facts.queued_at)
    return {
        "orchd_oldest_queued_s": ("Age of the oldest waiting job", now - oldest[JobStatus.QUEUED]),
        "orchd_oldest_running_s": (
            "Age of the oldest running job",
            now - oldest[JobStatus.RUNNING],
        ),
    }
