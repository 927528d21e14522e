"""The one list of probes; the order decides whose word counts when two see the same device."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from pool_core.devices.amd import AmdProbe
from pool_core.devices.apple import AppleProbe
from pool_core.devices.cpu import CpuProbe
from pool_core.devices.nvidia import NvidiaProbe
from pool_core.devices.port import Probe
from pool_core.devices.vulkan import VulkanProbe

__all__ = ["PROBES"]

PROBES: Final[Mapping[str, Callable[[Path], Probe]]] = MappingProxyType(
    {
        "nvidia": NvidiaProbe,
        "amd": AmdProbe,
        "apple": AppleProbe,
        "vulkan": VulkanProbe,
        "cpu": CpuProbe,
    }
)
