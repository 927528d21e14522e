"""Devices as a scraper sees them."""

from prometheus_client.core import Metric

from orchestrator_core.contracts.pool import DeviceProcess, DeviceReport, WorkerReport
from pool_managerd.runtime.device_gauges import device_gauges
from support.pool_builders import cpu, gpu
from support.pool_fakes import make_worker

CARD = gpu(0).model_copy(
    update={
        "memory_used_bytes": 3 << 30,
        "utilization_percent": 25.0,
        "temperature_c": 61.0,
        "power_w": 180.5,
        "processes": (
            DeviceProcess(pid=4242, memory_bytes=1 << 30),
            DeviceProcess(pid=4243, memory_bytes=1 << 20),
            DeviceProcess(pid=99, memory_bytes=2 << 30),
            DeviceProcess(pid=4244),
        ),
    }
)
WORKERS = [make_worker(pid=pid) for pid in (4242, 4243, 4244, None)]


def gauge(name: str, devices: list[DeviceReport], workers: list[WorkerReport]) -> Metric:
    (family,) = (it for it in device_gauges(devices, workers) if it.name == name)
    return family


def values(
    name: str, devices: list[DeviceReport], workers: list[WorkerReport] | None = None
) -> dict[str, float]:
    """The samples by their first label."""
    samples = gauge(name, devices, workers or []).samples
    return {next(iter(it.labels.values()), ""): it.value for it in samples}


def test_a_card_has_every_gauge() -> None:
    devices = [CARD, cpu()]
    assert values("pool_mgr_gpus_total", devices) == {"": 1}
    assert values("pool_mgr_gpu_vram_total_bytes", devices) == {"GPU-0": 8 << 30}
    assert values("pool_mgr_gpu_vram_used_bytes", devices) == {"GPU-0": 3 << 30}
    assert values("pool_mgr_gpu_utilization_ratio", devices) == {"GPU-0": 0.25}
    assert values("pool_mgr_gpu_temperature_celsius", devices) == {"GPU-0": 61}
    assert values("pool_mgr_gpu_power_watts", devices) == {"GPU-0": 180.5}
    assert values("pool_mgr_device_memory_free_bytes", devices) == {
        "GPU-0": 4 << 30,
        "cpu": 4 << 30,
    }


def test_allocated_is_what_the_processes_of_our_workers_hold() -> None:
    found = values("pool_mgr_gpu_vram_allocated_bytes", [CARD, gpu(1)], WORKERS)
    assert found == {"GPU-0": (1 << 30) + (1 << 20), "GPU-1": 0}


def test_what_a_driver_does_not_tell_has_no_sample() -> None:
    for name in ("vram_used_bytes", "utilization_ratio", "temperature_celsius", "power_watts"):
        assert values(f"pool_mgr_gpu_{name}", [gpu(0)]) == {}


def test_a_stale_device_is_marked() -> None:
    lost = CARD.model_copy(update={"stale": True})
    assert values("pool_mgr_device_stale", [lost, cpu()]) == {"GPU-0": 1, "cpu": 0}


def test_a_part_of_a_card_is_no_card_of_its_own() -> None:
    part = gpu(1).model_copy(update={"parent_id": "GPU-0"})
    assert values("pool_mgr_gpus_total", [CARD, part]) == {"": 1}
    assert values("pool_mgr_gpu_vram_total_bytes", [CARD, part]).keys() == {"GPU-0", "GPU-1"}
