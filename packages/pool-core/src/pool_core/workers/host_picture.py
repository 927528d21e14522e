"""What a plan knows of the host: a snapshot that survey takes and planning decides by."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator_core.contracts.pool import DeviceReport
from pool_core.workers.engine_facts import EngineFacts
from pool_core.workers.memory import Promise, pending_bytes, without_promised

__all__ = ["HostPicture", "left_over"]


@dataclass(frozen=True, slots=True)
class HostPicture:
    """One moment of one host.

    reserved_bytes is what was promised, by device id, to workers that have not loaded yet; cpus is
    how many this process may use; system and machine are spelled as Python spells them.
    """

    devices: tuple[DeviceReport, ...]
    reserved_bytes: Mapping[str, int]
    cpus: int
    system: str
    machine: str
    engine: EngineFacts | None = None

    def left_bytes(self, device: DeviceReport) -> int:
        """The free memory that nobody was promised."""
        return max(0, device.memory_free_bytes - self.promised_bytes(device))

    def promised_bytes(self, device: DeviceReport) -> int:
        """What was promised of the memory that this device computes in."""
        return _promised(device, self.devices, self.reserved_bytes)


def left_over(devices: Sequence[DeviceReport], promises: Sequence[Promise]) -> list[DeviceReport]:
    """The devices with no more free memory than a new worker would find there."""
    known, pending = without_promised(devices, promises), pending_bytes(promises)
    left = (max(0, it.memory_free_bytes - _promised(it, known, pending)) for it in known)
    return [
        device.model_copy(update={"memory_free_bytes": free_bytes})
        for device, free_bytes in zip(known, left, strict=True)
    ]


def _promised(
    device: DeviceReport, devices: Iterable[DeviceReport], reserved_bytes: Mapping[str, int]
) -> int:
    sharing = {device.id}
    if _is_main_memory(device):
        sharing |= {other.id for other in devices if _is_main_memory(other)}
    return sum(reserved_bytes.get(each, 0) for each in sharing)


def _is_main_memory(device: DeviceReport) -> bool:
    return device.kind == "cpu" or device.unified_memory
