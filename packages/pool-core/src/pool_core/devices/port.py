"""What a device probe is. A new kind of hardware is one file with one Probe, named in registry."""

from dataclasses import dataclass
from typing import Protocol

from orchestrator_core.contracts.pool import DeviceReport

__all__ = ["Probe", "Sighting"]


@dataclass(frozen=True, slots=True)
class Sighting:
    """What one look found.

    With a fault the look itself failed: the devices seen last are still there for all we know, so
    they stay and are called stale. No fault and no device means that there is none.
    """

    devices: tuple[DeviceReport, ...] = ()
    fault: str | None = None


class Probe(Protocol):
    """Looks at one kind of hardware; whatever a driver does, a look ends and never raises."""

    def look(self) -> Sighting:
        """Describe every device of this kind; blocks, but never longer than its deadline."""
        ...

    def close(self) -> None:
        """Let go of what the probe holds open."""
        ...
