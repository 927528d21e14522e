"""What is measured of the daemon: its lag, its store, its oldest jobs."""

from prometheus_client import generate_latest

from orchestrator_core.errors import Code
from orchestrator_core.scheduler.commands import PersistRequeued
from orchestrator_core.testing.facts import job_id
from orchestratord.runtime.upkeep.metrics import LoopLag, Metrics, store_gauges
from orchestratord.store.memory import MemoryStore


class Ticks:
    """The moments at which the sweeper came."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The moment."""
        return self.now


def test_the_lag_is_how_late_the_sweeper_comes() -> None:
    ticks = Ticks()
    lag = LoopLag(ticks)
    assert lag.p99_s() == 0.0
    for _ in range(150):
        lag.look()
        ticks.now += 1.0
    assert lag.p99_s() == 0.0
    for _ in range(20):
        ticks.now += 1.5
        lag.look()
    assert lag.p99_s() == 0.5


def test_the_lag_forgets_what_is_long_ago() -> None:
    ticks = Ticks()
    lag = LoopLag(ticks)
    lag.look()
    ticks.now += 50.0
    for _ in range(400):
        lag.look()
        ticks.now += 1.0
    assert lag.p99_s() == 0.0


def test_broken_attempts_are_counted_by_their_reason() -> None:
    metrics = Metrics(dict)
    for code in (Code.WORKER_LOST, Code.WORKER_LOST, Code.ENGINE_ERROR):
        metrics.broken(
            PersistRequeued(
                job_id=job_id(1), attempt=1, reason=code, message="", tokens=0, keep_tokens=0
            )
        )
    name = "orchd_attempts_broken_total"
    read = metrics.registry.get_sample_value
    assert read(name, {"reason": "WORKER_LOST"}) == 2
    assert read(name, {"reason": "ENGINE_ERROR"}) == 1


async def test_a_disk_that_tells_nothing_has_no_gauge_of_its_space() -> None:
    gauges = store_gauges(MemoryStore())
    assert "orchd_disk_free_bytes" not in gauges
    assert gauges["orchd_disk_low"][1] == 0


def test_what_only_grows_is_told_as_a_counter() -> None:
    metrics = Metrics(lambda: {"orchd_gaps_total": ("Gaps", 3), "orchd_open": ("Open", 2)})
    told = generate_latest(metrics.registry).decode()
    assert "# TYPE orchd_gaps_total counter\norchd_gaps_total 3.0\n" in told
    assert "# TYPE orchd_open gauge\norchd_open 2.0\n" in told
