"""Asks every probe and merges the answers into this host's list of devices."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from orchestrator_core.contracts.pool import DeviceReport
from pool_core.devices.port import Probe
from pool_core.devices.registry import PROBES

__all__ = ["merge", "probe_devices"]


def probe_devices(
    root: Path = Path("/"), probes: Mapping[str, Callable[[Path], Probe]] = PROBES
) -> list[DeviceReport]:
    """Every device of this host; blocks, because drivers may."""
    return merge([make(root).probe() for make in probes.values()])


def merge(groups: Sequence[Sequence[DeviceReport]]) -> list[DeviceReport]:
    """Put GPUs before the CPU, by index; of two reports with one id the earlier group's stays."""
    chosen: dict[str, DeviceReport] = {}
    for group in groups:
        for device in group:
            chosen.setdefault(device.id, device)
    return sorted(chosen.values(), key=lambda device: (device.kind == "cpu", device.index))
