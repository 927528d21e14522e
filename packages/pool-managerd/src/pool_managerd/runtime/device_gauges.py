"""Turns the devices of this host into gauges: pure. Both names of a GPU's memory are kept apart.

pool_mgr_device_* covers every device, pool_mgr_gpu_* the graphics cards. What a driver does not
tell has no sample, because a zero would be believed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric

from orchestrator_core.contracts.pool import DeviceReport, WorkerReport

__all__ = ["device_gauges"]

Value = Callable[[DeviceReport], float | None]

_EVERY_DEVICE: Final[Sequence[tuple[str, str, Value]]] = (
    ("memory_total_bytes", "Memory of a device.", lambda it: it.memory_total_bytes),
    ("memory_free_bytes", "Free memory of a device.", lambda it: it.memory_free_bytes),
)
_EVERY_GPU: Final[Sequence[tuple[str, str, Value]]] = (
    ("vram_total_bytes", "Memory of a GPU.", lambda it: it.memory_total_bytes),
    (
        "vram_used_bytes",
        "Memory that all processes together hold.",
        lambda it: it.memory_used_bytes,
    ),
    (
        "utilization_ratio",
        "Part of the time in which a GPU computes, 0 to 1.",
        lambda it: None if it.utilization_percent is None else it.utilization_percent / 100,
    ),
    ("temperature_celsius", "Temperature of a GPU.", lambda it: it.temperature_c),
    ("power_watts", "Electric power that a GPU draws.", lambda it: it.power_w),
)


def device_gauges(
    devices: Sequence[DeviceReport], workers: Sequence[WorkerReport]
) -> Iterator[Metric]:
    """Every gauge of devices; the workers tell which processes are ours."""
    gpus = [device for device in devices if device.kind == "gpu"]
    count = GaugeMetricFamily("pool_mgr_gpus_total", "GPUs of this host.")
    # The parts of a split card are no cards of their own.
    count.add_metric([], sum(gpu.parent_id is None for gpu in gpus))
    yield count
    for name, text, value in _EVERY_DEVICE:
        samples = (([it.id, it.kind], value(it)) for it in devices)
        yield _family(f"pool_mgr_device_{name}", text, ["device", "kind"], samples)
    yield _family(
        "pool_mgr_device_stale",
        "1 while a device's driver does not speak and its last facts are shown.",
        ["device"],
        (([it.id], float(it.stale)) for it in devices),
    )
    for name, text, value in _EVERY_GPU:
        samples = (([it.id], value(it)) for it in gpus)
        yield _family(f"pool_mgr_gpu_{name}", text, ["gpu_id"], samples)
    pids = {worker.pid for worker in workers if worker.pid is not None}
    yield _family(
        "pool_mgr_gpu_vram_allocated_bytes",
        "Memory that the workers of this pool hold.",
        ["gpu_id"],
        (([it.id], _held_by(pids, it)) for it in gpus),
    )


def _held_by(pids: set[int], gpu: DeviceReport) -> float:
    return sum(it.memory_bytes or 0 for it in gpu.processes if it.pid in pids)


def _family(
    name: str, text: str, labels: Sequence[str], samples: Iterable[tuple[list[str], float | None]]
) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in samples:
        if value is not None:
            family.add_metric(values, value)
    return family
