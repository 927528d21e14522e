"""What the control groups of this process leave it of the host's CPUs and memory.

A container sees the whole machine in /proc, so the tightest level of every group counts. Hosts
with the second version, with the first one and with both at once exist.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from pool_core.devices.tree import Tree, whole

__all__ = ["GroupLimits", "Groups", "group_limits", "parse_groups"]

# The first version spells "unlimited" as the largest page-aligned number.
_UNLIMITED: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a process: the one of the second version, and two of the first."""

    unified: PurePosixPath | None = None
    memory: PurePosixPath | None = None
    cpu: PurePosixPath | None = None


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """CPU quota in whole CPUs, memory limit, and what is left below it; None is unlimited."""

    cpus: int | None = None
    memory_bytes: int | None = None
    memory_left_bytes: int | None = None


def parse_groups(text: str) -> Groups:
    """Read /proc/self/cgroup."""
    found: dict[str, PurePosixPath] = {}
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            found["unified"] = PurePosixPath(path)
        for controller in controllers.split(","):
            found[controller] = PurePosixPath(path)
    return Groups(found.get("unified"), found.get("memory"), found.get("cpu"))


def group_limits(tree: Tree) -> GroupLimits:
    """Read the limits of every level above this process."""
    groups = parse_groups(tree.text("proc/self/cgroup"))
    quotas: list[int] = []
    memory: list[tuple[int, int]] = []
    for folder in _levels(groups.unified, "sys/fs/cgroup"):
        quotas += _quota(tree.text(f"{folder}/cpu.max").split())
        memory += _memory(tree, folder, ("memory.max", "memory.current", "inactive_file"))
    for folder in _levels(groups.memory, "sys/fs/cgroup/memory"):
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        memory += _memory(tree, folder, names)
    for folder in _levels(groups.cpu, "sys/fs/cgroup/cpu"):
        times = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        quotas += _quota([tree.text(f"{folder}/{name}") for name in times])
    return GroupLimits(
        min(quotas, default=None),
        min((limit for limit, _ in memory), default=None),
        min((left for _, left in memory), default=None),
    )


def _levels(group: PurePosixPath | None, mount: str) -> Iterator[str]:
    # A container often sees only its own subtree, mounted as the whole: missing levels are
    # skipped by reading nothing from them.
    if group is not None:
        for level in (group, *group.parents):
            yield f"{mount}/{str(level).strip('/')}".rstrip("/")


def _memory(tree: Tree, folder: str, names: tuple[str, str, str]) -> list[tuple[int, int]]:
    limit_name, used_name, cache_name = names
    limit = tree.number(f"{folder}/{limit_name}")
    if limit is None or limit >= _UNLIMITED:
        return []
    used = tree.number(f"{folder}/{used_name}") or 0
    # File pages that nobody touched lately are given back before anyone is refused memory.
    reclaimable = 0
    for line in tree.text(f"{folder}/memory.stat").splitlines():
        name, _, number = line.partition(" ")
        if name == cache_name:
            reclaimable = whole(number) or 0
    return [(limit, max(0, min(limit, limit - used + reclaimable)))]


def _quota(fields: list[str]) -> list[int]:
    quota, period = (whole(field) for field in fields) if len(fields) == 2 else (None, None)
    return [] if quota is None or not period else [max(1, math.ceil(quota / period))]
