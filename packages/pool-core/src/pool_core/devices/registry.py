"""The one list of probes; the order decides whose word counts when two see the same device."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pool_core.devices.cpu import CpuProbe
from pool_core.devices.port import Probe

__all__ = ["PROBES"]

PROBES: Final[Mapping[str, Callable[[Path], Probe]]] = MappingProxyType({"cpu": CpuProbe})
