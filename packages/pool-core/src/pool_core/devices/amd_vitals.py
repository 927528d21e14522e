"""How warm, how busy and how full an AMD card is, and whether its memory is the host's.

Every fact comes from its own small file of sysfs and is missing when that file cannot be read.
"""

import ctypes
import fcntl
import os
import struct
from dataclasses import dataclass
from typing import Final, Literal

from pool_core.devices.amd_card import AmdCard
from pool_core.devices.tree import Tree

__all__ = ["Kind", "Sensors", "is_apu", "memory_total_bytes", "memory_used_bytes", "sensors"]

Kind = Literal["vram", "gtt"]
"""The card's own memory (of an APU what the firmware set aside), and the host's that it may use."""


# struct drm_amdgpu_info has a pointer to the answer, its size, the query and a union of 16 bytes.
_INFO_FORMAT: Final = "QII16x"
_INFO_IOCTL: Final = 0x40206445
_QUERY_DEVICE: Final = 0x16
_ANSWER_BYTES: Final = 512
_ANSWER_FLAGS_OFFSET: Final = 136
_FLAG_APU: Final = 1


@dataclass(frozen=True, slots=True)
class Sensors:
    """What a card feels at this moment."""

    utilization_percent: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None


def is_apu(tree: Tree, card: AmdCard, *, is_awake: bool) -> bool | None:
    """True when the card shares the host's memory; None when nothing tells."""
    # Only an APU has a rail for the north bridge, and only a card a bus to its own memory.
    if any(tree.text(f"{hwmon}/in1_label") == "vddnb" for hwmon in _hwmons(tree, card)):
        return True
    if "mem_busy_percent" in tree.names(card.folder):
        return False
    # Opening the device of a sleeping card would wake it.
    return _asked_apu(tree, card) if is_awake else None


def memory_total_bytes(tree: Tree, card: AmdCard, kind: Kind) -> int | None:
    """How large one of the card's pools is; the driver knows this without asking the card."""
    return tree.number(f"{card.folder}/mem_info_{kind}_total")


def memory_used_bytes(tree: Tree, card: AmdCard, kind: Kind) -> int | None:
    """How much of one of the card's pools is taken."""
    return tree.number(f"{card.folder}/mem_info_{kind}_used")


def sensors(tree: Tree, card: AmdCard) -> Sensors:
    """Load, temperature and power; reading them would wake a sleeping card."""
    busy = tree.number(f"{card.folder}/gpu_busy_percent")
    values: dict[str, int] = {}
    for hwmon in _hwmons(tree, card):
        for name in ("temp1_input", "temp2_input", "power1_average", "power1_input", "power1_cap"):
            value = tree.number(f"{hwmon}/{name}")
            if value is not None:
                values.setdefault(name, value)
    temperature = values.get("temp1_input", values.get("temp2_input"))
    power = values.get("power1_average", values.get("power1_input"))
    limit = values.get("power1_cap")
    return Sensors(
        float(busy) if busy is not None and busy <= 100 else None,
        None if temperature is None else temperature / 1000,
        None if power is None else power / 1_000_000,
        None if limit is None else limit / 1_000_000,
    )


def _hwmons(tree: Tree, card: AmdCard) -> list[str]:
    return [f"{card.folder}/hwmon/{name}" for name in tree.names(f"{card.folder}/hwmon")]


def _asked_apu(tree: Tree, card: AmdCard) -> bool | None:
    if card.render_minor is None:
        return None
    answer = ctypes.create_string_buffer(_ANSWER_BYTES)
    request = struct.pack(_INFO_FORMAT, ctypes.addressof(answer), _ANSWER_BYTES, _QUERY_DEVICE)
    try:
        device = os.open(tree.path(f"dev/dri/renderD{card.render_minor}"), os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.ioctl(device, _INFO_IOCTL, request)
    except OSError:
        return None
    finally:
        os.close(device)
    (flags,) = struct.unpack_from("=Q", answer, _ANSWER_FLAGS_OFFSET)
    return bool(flags & _FLAG_APU)
