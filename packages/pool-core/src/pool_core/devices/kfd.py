"""What the kernel's compute driver knows of AMD cards: their gfx names and who holds their memory.

Nodes are joined to graphics cards by the number of their render device. The driver's own memory
figures are left alone: they miss what other users of the card hold.
"""

from dataclasses import dataclass
from typing import Final

from orchestrator_core.contracts.pool import DeviceProcess
from pool_core.devices.tree import Tree, whole

__all__ = ["KfdNode", "gfx_name", "kfd_nodes", "kfd_processes"]

_NODES: Final = "sys/class/kfd/kfd/topology/nodes"
_PROCESSES: Final = "sys/class/kfd/kfd/proc"
_PROCESSES_MAX: Final = 256


@dataclass(frozen=True, slots=True)
class KfdNode:
    """One card as the compute driver sees it."""

    gpu_id: int
    architecture: str | None


def gfx_name(version: int) -> str | None:
    """Spell a gfx_target_version: 90010 is gfx90a, 110501 is gfx1151."""
    if version <= 0:
        return None
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def kfd_nodes(tree: Tree) -> dict[int, KfdNode]:
    """Every card that ROCm could use, by the number of its render device."""
    found: dict[int, KfdNode] = {}
    for name in tree.names(_NODES):
        gpu_id = tree.number(f"{_NODES}/{name}/gpu_id")
        # Nodes with the id 0 are CPUs.
        if gpu_id:
            properties = _properties(tree.text(f"{_NODES}/{name}/properties"))
            minor = properties.get("drm_render_minor", 0)
            version = properties.get("gfx_target_version", 0)
            if minor:
                found[minor] = KfdNode(gpu_id, gfx_name(version))
    return found


def kfd_processes(tree: Tree, gpu_id: int) -> tuple[DeviceProcess, ...]:
    """Who holds memory of a card through the compute driver."""
    found: list[DeviceProcess] = []
    for name in tree.names(_PROCESSES)[:_PROCESSES_MAX]:
        held = tree.number(f"{_PROCESSES}/{name}/vram_{gpu_id}")
        # In a container the driver still speaks of the host's pids: those mean nothing here.
        if held and name.isdecimal() and tree.path(f"proc/{name}").exists():
            found.append(DeviceProcess(pid=int(name), memory_bytes=held))
    return tuple(found)


def _properties(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        number = whole(value)
        if number is not None:
            found[name] = number
    return found
