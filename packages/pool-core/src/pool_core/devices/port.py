"""What a device probe is. A new kind of hardware is one file with one Probe, named in registry."""

from typing import Protocol

from orchestrator_core.contracts.pool import DeviceReport

__all__ = ["Probe"]


class Probe(Protocol):
    """Looks at one kind of hardware; finding none is an empty list, never an exception."""

    def probe(self) -> list[DeviceReport]:
        """Describe every device of this kind."""
        ...
