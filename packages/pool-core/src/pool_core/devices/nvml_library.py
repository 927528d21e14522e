"""The part of NVIDIA's pynvml that is used here, with the types that the library itself lacks."""

# ruff: noqa: D102, N802, N815 - names and meanings are the library's.

from collections.abc import Sequence
from typing import Protocol, cast

import pynvml  # pyright: ignore[reportMissingTypeStubs]

__all__ = ["Handle", "Memory", "Nvml", "Pci", "Process", "Utilization", "library"]

Handle = object


class Memory(Protocol):
    """Bytes of a card."""

    total: int
    free: int
    used: int


class Utilization(Protocol):
    """Percent of time in which the card computed."""

    gpu: int


class Pci(Protocol):
    """Where a card is plugged in."""

    busId: str


class Process(Protocol):
    """Who holds how many bytes; the driver may keep the amount to itself."""

    pid: int
    usedGpuMemory: int | None


class Nvml(Protocol):
    """The functions of the library; each raises NVMLError, whose value is the library's code.

    Such an error can neither be hashed nor be compared with anything but its like.
    """

    nvmlMemory_v2: int
    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlSystemGetDriverVersion(self) -> str: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Handle: ...
    def nvmlDeviceGetUUID(self, handle: Handle) -> str: ...
    def nvmlDeviceGetName(self, handle: Handle) -> str: ...
    def nvmlDeviceGetPciInfo(self, handle: Handle) -> Pci: ...
    def nvmlDeviceGetCudaComputeCapability(self, handle: Handle) -> Sequence[int]: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Handle, version: int | None = None) -> Memory: ...
    def nvmlDeviceGetUtilizationRates(self, handle: Handle) -> Utilization: ...
    def nvmlDeviceGetTemperature(self, handle: Handle, sensor: int) -> int: ...
    def nvmlDeviceGetPowerUsage(self, handle: Handle) -> int: ...
    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Handle) -> int: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Handle) -> Sequence[Process]: ...
    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Handle) -> Sequence[Process]: ...
    def nvmlDeviceGetMigMode(self, handle: Handle) -> Sequence[int]: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Handle) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Handle, index: int) -> Handle: ...


def library() -> Nvml:
    """The installed pynvml; the driver's own library is loaded by nvmlInit and not before."""
    return cast("Nvml", pynvml)
