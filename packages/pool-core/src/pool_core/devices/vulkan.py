"""Graphics cards as Vulkan sees them, of any vendor, where the program vulkaninfo is installed.

Vulkan loads every graphics driver of the host, so it is asked in a process of its own and seldom.
The short answer names the cards; the long one, asked for only if there is one, knows the memory.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal

from orchestrator_core.clock import Clock, SystemClock
from orchestrator_core.contracts.pool import Backend, DeviceReport
from pool_core.devices.commands import Ran, Run, run_command
from pool_core.devices.host_memory import available_bytes
from pool_core.devices.port import Sighting
from pool_core.devices.tree import Tree
from pool_core.devices.vulkan_text import VULKAN_ID, VulkanCard, parse_vulkan

__all__ = ["VulkanProbe"]

Vendor = Literal["nvidia", "amd", "intel", "apple", "other"]

_PROGRAM: Final = "vulkaninfo"
_TIMEOUT_S: Final = 4.0
_KEPT_S: Final = 30.0
_NO_DRIVER: Final = "ERROR_INCOMPATIBLE_DRIVER"
_TYPE_PREFIX: Final = "PHYSICAL_DEVICE_TYPE_"
_PCI: Final = ("pciDomain", "pciBus", "pciDevice", "pciFunction")
_VENDORS: Final[Mapping[int | None, Vendor]] = {
    0x10DE: "nvidia",
    0x1002: "amd",
    0x8086: "intel",
    0x106B: "apple",
}


class VulkanProbe:
    """Asks vulkaninfo, at most once in half a minute."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        run: Run = run_command,
        find: Callable[[str], str | None] = shutil.which,
        clock: Clock | None = None,
    ) -> None:
        self._tree = Tree(root)
        self._run = run
        self._find = find
        self._clock = clock or SystemClock()
        self._last: tuple[float, Sighting] | None = None

    def look(self) -> Sighting:
        """Every graphics card, without the processors that only play one."""
        now_s = self._clock.monotonic_s()
        if self._last is None or now_s - self._last[0] >= _KEPT_S:
            # A failure is kept as long: a driver that hangs is not asked again at once.
            self._last = (now_s, self._ask())
        return self._last[1]

    def close(self) -> None:
        """Nothing is held open."""

    def _ask(self) -> Sighting:
        program = self._find(_PROGRAM)
        if program is None:
            return Sighting()
        short = self._run([program, "--summary"], _TIMEOUT_S)
        if short and short.code != 0 and _NO_DRIVER in short.errors + short.output:
            return Sighting()
        if fault := _fault(short):
            return Sighting(fault=fault)
        cards = {
            number: card
            for number, card in parse_vulkan(short.output if short else "").items()
            if card.fields.get("deviceType") != f"{_TYPE_PREFIX}CPU"
        }
        if not cards:
            return Sighting()
        long = self._run([program], _TIMEOUT_S)
        fault = _fault(long)
        told = parse_vulkan(long.output) if long and not fault else {}
        for number, card in cards.items():
            if number in told:
                card.fields = told[number].fields | card.fields
                card.heaps = told[number].heaps
        return Sighting(tuple(self._reports(cards, fault)))

    def _reports(self, cards: Mapping[int, VulkanCard], fault: str | None) -> list[DeviceReport]:
        uuids = Counter(card.fields.get("deviceUUID") for card in cards.values())
        seen: set[str] = set()
        found: list[DeviceReport] = []
        for number, card in sorted(cards.items()):
            place = _pci_address(card)
            # Two drivers for one card show it twice: the first one is the system's choice.
            if place is None or place not in seen:
                is_unique = uuids[card.fields.get("deviceUUID")] == 1
                found.append(self._report(number, card, is_unique=is_unique, fault=fault))
            if place:
                seen.add(place)
        return found

    def _report(
        self, number: int, card: VulkanCard, *, is_unique: bool, fault: str | None
    ) -> DeviceReport:
        amounts = card.memory.amounts if card.memory else {}
        total = amounts.get("size", 0)
        budget = amounts.get("budget")
        free = total if budget is None else min(total, max(0, budget - amounts.get("usage", 0)))
        is_unified = card.fields.get("deviceType") == f"{_TYPE_PREFIX}INTEGRATED_GPU"
        available = available_bytes(self._tree) if is_unified else None
        driver = f"{card.fields.get('driverName', '')} {card.fields.get('driverInfo', '')}"
        if not total and not fault:
            fault = "vulkaninfo does not tell the card's memory"
        return DeviceReport(
            id=_id(number, card, is_unique=is_unique),
            index=number,
            kind="gpu",
            name=card.fields.get("deviceName") or "GPU",
            backends=[Backend.VULKAN],
            memory_total_bytes=total,
            memory_free_bytes=free if available is None else min(free, available),
            memory_used_bytes=None if budget is None else total - free,
            unified_memory=is_unified,
            fault=fault if not total else None,
            vendor=_VENDORS.get(card.number("vendorID"), "other"),
            driver=driver.strip() or None,
            pci_address=_pci_address(card),
        )


def _fault(ran: Ran | None) -> str | None:
    if ran is None:
        return f"{_PROGRAM} did not start or gave no answer within {_TIMEOUT_S:g} s"
    if ran.code < 0:
        return f"{_PROGRAM} was killed by signal {-ran.code}"
    if ran.code:
        return f"{_PROGRAM} ended with code {ran.code}"
    return None


def _id(number: int, card: VulkanCard, *, is_unique: bool) -> str:
    uuid = card.fields.get("deviceUUID", "").lower()
    if is_unique and uuid.strip("0-"):
        return f"{VULKAN_ID}{uuid}"
    kind = f"{card.number('vendorID') or 0:04x}:{card.number('deviceID') or 0:04x}"
    return f"{VULKAN_ID}{kind}:{number}"


def _pci_address(card: VulkanCard) -> str | None:
    parts = [card.number(name) for name in _PCI]
    known = [part for part in parts if part is not None and part >= 0]
    # Drivers that have no bus to speak of leave all four at zero.
    if len(known) < len(_PCI) or not any(known):
        return None
    domain, bus, device, function = known
    return f"{domain:04x}:{bus:02x}:{device:02x}.{function:x}"
