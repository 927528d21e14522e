"""Reads what vulkaninfo prints, in its short form and in its long one.

Both forms describe a card below a line `GPU0:` by indented lines `key = value`; only the long one
knows the heaps of memory and the place on the bus.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from pool_core.devices.tree import whole

__all__ = ["VULKAN_ID", "Heap", "VulkanCard", "parse_vulkan"]

VULKAN_ID: Final = "VK-"
"""What the id of a card begins with that Vulkan alone vouches for; its device UUID follows."""

_CARD: Final = re.compile(r"GPU([0-9]{1,3}):\s*")
_HEAP: Final = re.compile(r"\s+memoryHeaps\[([0-9]{1,3})\]:\s*")
_FIELD: Final = re.compile(r"\s+(\w+)\s+= (.*)")


@dataclass(slots=True)
class Heap:
    """One heap of memory; budget is what this process may take of it, usage what it has taken."""

    is_device_local: bool = False
    amounts: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(slots=True)
class VulkanCard:
    """Everything told about one card, by Vulkan's own names; the first word counts."""

    fields: dict[str, str] = field(default_factory=dict[str, str])
    heaps: dict[int, Heap] = field(default_factory=dict[int, Heap])

    def number(self, name: str) -> int | None:
        """A field as a number, decimal or with 0x."""
        try:
            return int(self.fields.get(name, "").split()[0], 0)
        except (IndexError, ValueError):
            return None

    @property
    def memory(self) -> Heap | None:
        """The largest heap of the card itself.

        A second one is a window onto the first or a sliver of it, so they are never added up.
        """
        own = [heap for heap in self.heaps.values() if heap.is_device_local]
        return max(own, key=lambda heap: heap.amounts.get("size", 0), default=None)


def parse_vulkan(text: str) -> dict[int, VulkanCard]:
    """Every card in the text, by its number."""
    found: dict[int, VulkanCard] = {}
    card: VulkanCard | None = None
    heap: Heap | None = None
    for line in text.splitlines():
        if start := _CARD.fullmatch(line):
            card, heap = found.setdefault(int(start[1]), VulkanCard()), None
        elif card is None:
            continue
        elif start := _HEAP.fullmatch(line):
            heap = card.heaps.setdefault(int(start[1]), Heap())
        elif line and not line[0].isspace():
            heap = None
        elif heap is not None:
            _heap_line(heap, line)
        elif told := _FIELD.fullmatch(line):
            card.fields.setdefault(told[1], told[2].strip())
    return found


def _heap_line(heap: Heap, line: str) -> None:
    told = _FIELD.fullmatch(line)
    if told and (number := whole(told[2].partition(" ")[0])) is not None:
        heap.amounts[told[1]] = number
    elif line.strip() == "MEMORY_HEAP_DEVICE_LOCAL_BIT":
        heap.is_device_local = True
