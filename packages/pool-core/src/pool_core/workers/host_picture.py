"""What a plan knows of the host: a snapshot that survey takes and planning decides by."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator_core.contracts.pool import DeviceReport
from pool_core.workers.engine_facts import EngineFacts

__all__ = ["HostPicture"]


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
        sharing = {device.id}
        if _is_main_memory(device):
            sharing |= {other.id for other in self.devices if _is_main_memory(other)}
        return sum(self.reserved_bytes.get(each, 0) for each in sharing)


def _is_main_memory(device: DeviceReport) -> bool:
    return device.kind == "cpu" or device.unified_memory
