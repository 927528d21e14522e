"""Decides the list of a host's devices from what its probes saw, one group of reports per probe.

Vulkan shows cards that another probe has described already, and under other ids: such a report
is folded into the other one. The result does not depend on the order inside a group.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.contracts.pool import Backend, DeviceReport
from pool_core.devices.vulkan_text import VULKAN_ID

__all__ = ["merge"]

# Drivers add their own name to the card's: AMD Radeon RX 7900 XTX (RADV NAVI31).
_DRIVER_IN_NAME: Final = re.compile(r"\s*\([^()]*\)\s*$")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_FILLED: Final = (
    "features",
    "cores",
    "vendor",
    "architecture",
    "driver",
    "pci_address",
    "utilization_percent",
    "temperature_c",
    "power_w",
    "power_limit_w",
    "processes",
)
_MEMORY: Final = (
    "memory_total_bytes",
    "memory_free_bytes",
    "memory_used_bytes",
    "unified_memory",
)


@dataclass(frozen=True, slots=True)
class _Row:
    group: int
    device: DeviceReport

    @property
    def order(self) -> tuple[bool, int, int, bool, str]:
        """GPUs before the CPU, as the groups come, as the vendor counts, wholes before parts."""
        device = self.device
        is_part = device.parent_id is not None
        return (device.kind == "cpu", self.group, device.index, is_part, device.id)

    @property
    def is_vulkans(self) -> bool:
        """True when only Vulkan has seen it."""
        return self.device.backends == [Backend.VULKAN] and self.device.id.startswith(VULKAN_ID)


def merge(groups: Sequence[Sequence[DeviceReport]]) -> list[DeviceReport]:
    """One report per device, GPUs first, each kind counted from 0.

    Of two reports with one id the earlier group's stays.
    """
    rows = _distinct(groups)
    known = [row for row in rows if not row.is_vulkans]
    guests = [row for row in rows if row.is_vulkans]
    # A fold can complete a report so that a further one is recognised: go on until none is.
    while (match := _match(known, guests)) is not None:
        at, guest = match
        guests.remove(guest)
        known[at] = _Row(known[at].group, _folded(known[at].device, guest.device))
    return _counted(row.device for row in sorted([*known, *guests], key=lambda row: row.order))


def _distinct(groups: Sequence[Sequence[DeviceReport]]) -> list[_Row]:
    rows = [_Row(number, device) for number, group in enumerate(groups) for device in group]
    # The whole report is the last word on the order: equal rows are then equal in everything.
    rows.sort(key=lambda row: (*row.order, row.device.model_dump_json()))
    chosen: dict[str, _Row] = {}
    for row in sorted(rows, key=lambda row: row.group):
        chosen.setdefault(row.device.id, row)
    return sorted(chosen.values(), key=lambda row: row.order)


def _match(known: Sequence[_Row], guests: Sequence[_Row]) -> tuple[int, _Row] | None:
    # A part of a card (MIG) has its card's place and must not be taken for it.
    wholes = [
        at
        for at, row in enumerate(known)
        if row.device.kind == "gpu" and row.device.parent_id is None
    ]
    for guest in guests:
        for at in wholes:
            if _is_same(known[at].device, guest.device):
                return at, guest
    for guest in guests:
        alike = [at for at in wholes if _may_be_same(known[at].device, guest.device)]
        rivals = [row for row in guests if _is_alike(row.device, guest.device)]
        if len(alike) == 1 and len(rivals) == 1:
            return alike[0], guest
    return None


def _is_same(device: DeviceReport, guest: DeviceReport) -> bool:
    if device.pci_address and guest.pci_address:
        return device.pci_address == guest.pci_address
    # NVIDIA's id is its device UUID with a prefix.
    uuid = guest.id.removeprefix(VULKAN_ID).lower()
    return bool(_UUID.fullmatch(uuid)) and uuid in device.id.lower()


def _may_be_same(device: DeviceReport, guest: DeviceReport) -> bool:
    if device.pci_address and guest.pci_address:
        return False
    return Backend.VULKAN not in device.backends and _is_alike(device, guest)


def _is_alike(one: DeviceReport, other: DeviceReport) -> bool:
    return (
        one.vendor is not None
        and one.vendor == other.vendor
        and _bare_name(one) == _bare_name(other)
    )


def _bare_name(device: DeviceReport) -> str:
    return _DRIVER_IN_NAME.sub("", device.name).casefold()


def _folded(device: DeviceReport, guest: DeviceReport) -> DeviceReport:
    changes: dict[str, object] = {
        name: getattr(guest, name) for name in _FILLED if getattr(device, name) in (None, ())
    }
    if device.memory_total_bytes == 0:
        # The amounts belong together: they are taken as a whole or not at all.
        changes |= {name: getattr(guest, name) for name in _MEMORY}
    if Backend.VULKAN not in device.backends:
        changes["backends"] = [*device.backends, Backend.VULKAN]
    return device.model_copy(update=changes)


def _counted(devices: Iterable[DeviceReport]) -> list[DeviceReport]:
    found: list[DeviceReport] = []
    numbers = {"gpu": 0, "cpu": 0}
    for device in devices:
        found.append(device.model_copy(update={"index": numbers[device.kind]}))
        numbers[device.kind] += 1
    return found
