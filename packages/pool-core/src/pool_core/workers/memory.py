"""Keeps the books of a host's memory: what was promised to workers, and whether it came back. Pure.

A model's file is mapped, so the system calls its pages free although a running worker needs them.
What is left is therefore the smaller of what the device says and what the promises leave over.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.contracts.pool import DeviceReport

__all__ = ["Promise", "has_come_back", "pending_bytes", "without_promised"]

_SETTLED_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Promise:
    """The memory of one worker by device; a loaded one holds its memory, another one will."""

    needed_bytes: Mapping[str, int]
    loaded: bool


def pending_bytes(promises: Iterable[Promise]) -> dict[str, int]:
    """What workers were promised that have not loaded yet, by device."""
    return _sum(promise.needed_bytes for promise in promises if not promise.loaded)


def without_promised(
    devices: Sequence[DeviceReport], promises: Sequence[Promise]
) -> list[DeviceReport]:
    """The devices with no more free memory than the promises to loaded workers leave over."""
    held = _sum(promise.needed_bytes for promise in promises if promise.loaded)
    return [
        device.model_copy(
            update={
                "memory_free_bytes": max(
                    0,
                    min(device.memory_free_bytes, device.memory_total_bytes - held[device.id]),
                )
            }
        )
        if device.id in held
        else device
        for device in devices
    ]


def has_come_back(
    before: Sequence[DeviceReport], now: Sequence[DeviceReport], *, ids: Iterable[str], pid: int
) -> bool:
    """Tell from two looks whether a worker's memory is free again: nobody there, nothing moves."""
    earlier = {device.id: device for device in before}
    wanted = set(ids)
    for device in now:
        if device.id not in wanted or device.kind == "cpu":
            continue
        if any(process.pid == pid for process in device.processes):
            return False
        known = earlier.get(device.id)
        if known is None:
            return False
        if abs(known.memory_free_bytes - device.memory_free_bytes) > _SETTLED_BYTES:
            return False
    return True


def _sum(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for device, count in part.items():
            total[device] = total.get(device, 0) + count
    return total
