"""Counters of workers: how they started, why they ended, how often they were replaced."""

import pytest

from orchestrator_core.contracts.pool import Owner, WorkerReport
from pool_managerd.runtime.metrics import PoolMetrics
from pool_managerd.runtime.tally import Happening, WorkerEvent
from support.pool_builders import cpu, gpu
from support.pool_fakes import make_worker


def lines(metrics: PoolMetrics) -> list[str]:
    return metrics.render().decode().splitlines()


def event(happening: Happening, **worker: object) -> WorkerEvent:
    report: WorkerReport = make_worker(**worker)
    return WorkerEvent(happening, report)


@pytest.mark.parametrize("reason", ["stop", "evict", "drain", "crash"])
def test_every_reason_of_an_end_is_there_before_it_happens(reason: str) -> None:
    assert f'pool_mgr_worker_stops_total{{reason="{reason}"}} 0.0' in lines(PoolMetrics())


@pytest.mark.parametrize(
    ("happening", "owner", "is_draining", "reason"),
    [
        (Happening.STOPPED, Owner.OPERATOR, False, "stop"),
        (Happening.STOPPED, Owner.ORCHESTRATOR, False, "evict"),
        (Happening.STOPPED, Owner.ORCHESTRATOR, True, "drain"),
        (Happening.STOPPED, Owner.OPERATOR, True, "drain"),
        (Happening.CRASHED, Owner.ORCHESTRATOR, True, "crash"),
    ],
)
def test_an_end_is_counted_by_its_reason(
    happening: Happening, owner: Owner, is_draining: bool, reason: str
) -> None:
    metrics = PoolMetrics()
    metrics.count(event(happening, owner=owner), is_draining=is_draining)
    counted = [it for it in lines(metrics) if it.startswith("pool_mgr_worker_stops_total")]
    assert [it for it in counted if it.endswith(" 1.0")] == [
        f'pool_mgr_worker_stops_total{{reason="{reason}"}} 1.0'
    ]


def test_only_a_second_process_of_a_worker_is_a_restart() -> None:
    metrics = PoolMetrics()
    assert "pool_mgr_worker_restarts_total 0.0" in lines(metrics)
    metrics.count(event(Happening.STARTING))
    assert "pool_mgr_worker_restarts_total 0.0" in lines(metrics)
    metrics.count(event(Happening.STARTING, incarnation=2))
    metrics.count(event(Happening.READY, incarnation=2))
    assert "pool_mgr_worker_restarts_total 1.0" in lines(metrics)


def test_gauges_are_read_at_each_scrape() -> None:
    metrics = PoolMetrics()
    devices = [cpu()]
    metrics.watch(lambda: devices, lambda: [make_worker()], lambda: True)
    assert "pool_mgr_gpus_total 0.0" in lines(metrics)
    assert 'pool_mgr_workers_total{status="starting"} 1.0' in lines(metrics)
    assert "pool_mgr_orchestrator_connected 1.0" in lines(metrics)
    devices.append(gpu(0))
    assert "pool_mgr_gpus_total 1.0" in lines(metrics)
    assert 'pool_mgr_gpu_vram_total_bytes{gpu_id="GPU-0"} 8.589934592e+09' in lines(metrics)
