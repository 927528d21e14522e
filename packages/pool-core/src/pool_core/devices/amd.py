"""AMD cards through sysfs: memory, load, sensors, the gfx name and whether we may use them.

A card that cannot be used is listed with the reason, because a missing card explains nothing.
"""

import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from orchestrator_core.contracts.pool import Backend, DeviceProcess, DeviceReport
from pool_core.devices.amd_card import AmdCard, find_cards, parse_card_names
from pool_core.devices.amd_vitals import (
    Kind,
    Sensors,
    is_apu,
    memory_total_bytes,
    memory_used_bytes,
    sensors,
)
from pool_core.devices.bounded_call import BoundedCall, StillPending
from pool_core.devices.host_memory import available_bytes
from pool_core.devices.kfd import KfdNode, kfd_nodes, kfd_processes
from pool_core.devices.port import Sighting
from pool_core.devices.tree import Tree

__all__ = ["AmdProbe", "may_use"]

_CARD_NAMES: Final = "usr/share/libdrm/amdgpu.ids"
_COMPUTE_DEVICE: Final = "dev/kfd"
_TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class _Memory:
    total_bytes: int
    free_bytes: int
    used_bytes: int | None
    is_unified: bool
    fault: str | None = None


def may_use(path: Path) -> bool:
    """True when this process may read and write a device file."""
    return os.access(path, os.R_OK | os.W_OK)


class AmdProbe:
    """Describes every AMD card of a host."""

    def __init__(self, root: Path = Path("/"), *, access: Callable[[Path], bool] = may_use) -> None:
        self._tree = Tree(root)
        self._access = access
        self._names: Mapping[tuple[int, int], str] | None = None
        # What a card told last, for the moments at which its files cannot be read.
        self._memory: dict[str, _Memory] = {}
        self._apu: dict[str, bool] = {}
        # A card that is being reset can keep the readers of its files waiting.
        self._describe = BoundedCall(self._described, _TIMEOUT_S)

    def look(self) -> Sighting:
        """Every card; a fact that cannot be read is missing."""
        try:
            return Sighting(self._describe.ask() if find_cards(self._tree) else ())
        except StillPending:
            return Sighting(fault=f"the driver of AMD cards gave no answer within {_TIMEOUT_S:g} s")

    def close(self) -> None:
        """Nothing is held open."""

    def _described(self) -> tuple[DeviceReport, ...]:
        cards = find_cards(self._tree)
        nodes = kfd_nodes(self._tree)
        twins = Counter(card.stable_id for card in cards)
        return tuple(
            self._report(
                card,
                # Two cards with one number would be one device to everybody else.
                card.stable_id if twins[card.stable_id] == 1 else card.place_id,
                index,
                None if card.render_minor is None else nodes.get(card.render_minor),
            )
            for index, card in enumerate(cards)
        )

    def _report(
        self, card: AmdCard, device_id: str, index: int, node: KfdNode | None
    ) -> DeviceReport:
        is_awake = self._tree.text(f"{card.folder}/power/runtime_status") != "suspended"
        felt = sensors(self._tree, card) if is_awake else Sensors()
        memory = self._memory_of(card, device_id, is_awake=is_awake)
        refused = self._refusal(card, node)
        processes: tuple[DeviceProcess, ...] = ()
        if node and is_awake:
            processes = kfd_processes(self._tree, node.gpu_id)
        return DeviceReport(
            id=device_id,
            index=index,
            kind="gpu",
            name=self._name(card),
            backends=[Backend.ROCM] if node and not refused else [],
            memory_total_bytes=memory.total_bytes,
            memory_free_bytes=memory.free_bytes,
            memory_used_bytes=memory.used_bytes,
            unified_memory=memory.is_unified,
            stale=memory.fault is not None,
            fault="; ".join(fault for fault in (refused, memory.fault) if fault) or None,
            vendor="amd",
            architecture=node.architecture if node else None,
            driver=card.driver,
            pci_address=card.pci_address,
            utilization_percent=felt.utilization_percent,
            temperature_c=felt.temperature_c,
            power_w=felt.power_w,
            power_limit_w=felt.power_limit_w,
            processes=processes,
        )

    def _name(self, card: AmdCard) -> str:
        if self._names is None:
            self._names = parse_card_names(self._tree.text(_CARD_NAMES))
        return (
            self._names.get((card.device, card.revision))
            or self._tree.text(f"{card.folder}/product_name")
            or f"AMD GPU {card.device:04x}"
        )

    def _refusal(self, card: AmdCard, node: KfdNode | None) -> str | None:
        """Why programs of ours cannot use the card."""
        needed = [] if card.render_minor is None else [f"dev/dri/renderD{card.render_minor}"]
        needed += [_COMPUTE_DEVICE] if node else []
        for path in needed:
            if not self._tree.path(path).exists():
                return f"/{path} is missing: a container must be started with this device"
        closed = [f"/{path}" for path in needed if not self._access(self._tree.path(path))]
        if closed:
            files = " and ".join(closed)
            return f"no access to {files}: add this user to the groups render and video"
        return None

    def _memory_of(self, card: AmdCard, device_id: str, *, is_awake: bool) -> _Memory:
        is_unified = self._is_unified(card, device_id, is_awake=is_awake)
        kinds: tuple[Kind, ...] = ("vram", "gtt") if is_unified else ("vram",)
        total = {kind: memory_total_bytes(self._tree, card, kind) or 0 for kind in kinds}
        # The driver puts a card to sleep only when nobody uses it.
        used = {
            kind: memory_used_bytes(self._tree, card, kind) if is_awake else 0 for kind in kinds
        }
        last = self._memory.get(device_id)
        if not total["vram"] or used["vram"] is None:
            fault = "the driver does not tell the card's memory"
            if last:
                return replace(last, used_bytes=None, fault=fault)
            return _Memory(sum(total.values()), 0, None, is_unified, fault)
        free = {kind: max(0, total[kind] - (used[kind] or 0)) for kind in kinds}
        available = available_bytes(self._tree)
        if is_unified and available is not None:
            # This part is the host's memory: there is no more of it than the host has left.
            free["gtt"] = min(free["gtt"], available)
        all_used = sum(amount or 0 for amount in used.values()) if is_awake else None
        found = _Memory(sum(total.values()), sum(free.values()), all_used, is_unified)
        self._memory[device_id] = found
        return found

    def _is_unified(self, card: AmdCard, device_id: str, *, is_awake: bool) -> bool:
        known = self._apu.get(device_id)
        if known is None:
            told = is_apu(self._tree, card, is_awake=is_awake)
            if told is None:
                return False
            known = self._apu[device_id] = told
        return known
