"""Reads what a Mac's own programs print about its GPU. Every key is optional; nothing raises."""

import json
import plistlib
import re
from dataclasses import dataclass
from typing import Final, cast
from xml.parsers.expat import ExpatError

from pool_core.devices.tree import whole

__all__ = ["AppleGpu", "GpuLoad", "parse_displays", "parse_load", "parse_uuid"]

_UUID: Final = re.compile(r'"IOPlatformUUID"\s*=\s*"([0-9A-Fa-f-]{8,64})"')


@dataclass(frozen=True, slots=True)
class AppleGpu:
    """What system_profiler knows of the GPU."""

    name: str | None = None
    cores: int | None = None
    family: str | None = None


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """What the driver counts at this moment."""

    utilization_percent: float | None = None
    memory_used_bytes: int | None = None


def parse_displays(text: str) -> AppleGpu:
    """Read `system_profiler -json SPDisplaysDataType`: the first GPU that Apple made."""
    try:
        told = cast("object", json.loads(text))
    except (ValueError, RecursionError):
        return AppleGpu()
    for entry in _entries(_mapping(told).get("SPDisplaysDataType")):
        if "apple" in str(entry.get("spdisplays_vendor", "")).lower():
            cores = str(entry.get("sppci_cores", ""))
            family = str(entry.get("spdisplays_mtlgpufamilysupport", ""))
            return AppleGpu(
                str(entry.get("sppci_model", "")) or None,
                whole(cores),
                family.removeprefix("spdisplays_") or None,
            )
    return AppleGpu()


def parse_load(text: str) -> GpuLoad:
    """Read `ioreg -r -d 1 -c IOAccelerator -a`: the first driver that counts anything."""
    try:
        told = cast("object", plistlib.loads(text.encode()))
    except (ValueError, ExpatError, plistlib.InvalidFileException, AttributeError, TypeError):
        return GpuLoad()
    for entry in _entries(told):
        counted = _mapping(entry.get("PerformanceStatistics"))
        percent = _amount(counted.get("Device Utilization %"))
        used = _amount(counted.get("In use system memory"))
        if percent is not None or used is not None:
            return GpuLoad(None if percent is None else float(min(percent, 100)), used)
    return GpuLoad()


def parse_uuid(text: str) -> str | None:
    """Read `ioreg -rd1 -c IOPlatformExpertDevice`: the number that Apple gave this Mac."""
    found = _UUID.search(text)
    return found[1].upper() if found else None


def _mapping(value: object) -> dict[str, object]:
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}


def _entries(value: object) -> list[dict[str, object]]:
    return (
        [_mapping(entry) for entry in cast("list[object]", value)]
        if isinstance(value, list)
        else []
    )


def _amount(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
