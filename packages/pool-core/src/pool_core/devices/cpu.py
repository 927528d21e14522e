"""The CPU and main memory as one device, within the limits that this process really has.

Reads /proc and /sys below a root that tests replace; the parsing functions are pure. Affinity
and cgroup limits count, because a container sees the whole machine's cores and memory.
"""

import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from orchestrator_core.contracts.pool import Backend, DeviceReport

__all__ = ["CpuFacts", "CpuProbe", "cgroup_paths", "parse_cpuinfo", "parse_meminfo", "usable_cpus"]

_FEATURES: Final = frozenset(
    {"avx", "avx2", "fma", "f16c", "bmi2", "avx_vnni", "avx512f", "avx512vl", "avx512bw"}
    | {"avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"}
    | {"asimddp", "i8mm", "bf16", "sve"}
)
# cgroup v1 spells "unlimited" as the largest page-aligned number.
_UNLIMITED: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class CpuFacts:
    """What /proc/cpuinfo says; cores are physical ones, None where it does not tell."""

    name: str
    cores: int | None
    features: tuple[str, ...]


def usable_cpus() -> int:
    """How many logical CPUs this process may run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def parse_cpuinfo(text: str) -> CpuFacts:
    """Read the name, the physical cores and the instruction sets that engines care about."""
    name, flags = "", set[str]()
    cores: set[tuple[str, str]] = set()
    for block in text.split("\n\n"):
        fields = {
            key.strip(): value.strip()
            for key, colon, value in (line.partition(":") for line in block.splitlines())
            if colon
        }
        name = name or fields.get("model name", "") or fields.get("Model", "")
        flags |= set((fields.get("flags") or fields.get("Features", "")).split())
        if "core id" in fields:
            cores.add((fields.get("physical id", "0"), fields["core id"]))
    return CpuFacts(name or "CPU", len(cores) or None, tuple(sorted(flags & _FEATURES)))


def parse_meminfo(text: str) -> tuple[int, int]:
    """Total and available bytes of /proc/meminfo."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()
        if number and number[0].isdecimal():
            found[name] = int(number[0]) * 1024
    total = found.get("MemTotal", 0)
    return total, found.get("MemAvailable", found.get("MemFree", total))


def cgroup_paths(text: str) -> tuple[PurePosixPath | None, PurePosixPath | None]:
    """The v2 group and the v1 memory group that /proc/self/cgroup names."""
    unified: PurePosixPath | None = None
    memory: PurePosixPath | None = None
    for line in text.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            unified = PurePosixPath(path)
        elif "memory" in controllers.split(","):
            memory = PurePosixPath(path)
    return unified, memory


class CpuProbe:
    """Describes the one CPU device of a host."""

    def __init__(self, root: Path = Path("/"), cpus: Callable[[], int] = usable_cpus) -> None:
        self._root = root
        self._cpus = cpus

    def probe(self) -> list[DeviceReport]:
        """One device; unreadable files leave their facts out."""
        facts = parse_cpuinfo(self._read("proc/cpuinfo"))
        total, free = parse_meminfo(self._read("proc/meminfo"))
        quota, limit, left = self._limits()
        cpus = min(self._cpus(), quota) if quota else self._cpus()
        return [
            DeviceReport(
                id="cpu",
                index=0,
                kind="cpu",
                name=facts.name,
                backends=[Backend.CPU],
                memory_total_bytes=min(total, limit) if limit else total,
                memory_free_bytes=min(free, left) if left is not None else free,
                cores=max(1, min(facts.cores or cpus, cpus)),
                features=facts.features,
            )
        ]

    def _limits(self) -> tuple[int | None, int | None, int | None]:
        """CPU quota in whole CPUs, memory limit, and what is left below that limit."""
        unified, legacy = cgroup_paths(self._read("proc/self/cgroup"))
        quotas: list[int] = []
        memory: list[tuple[int, int]] = []
        for folder in self._levels(unified, "sys/fs/cgroup"):
            quotas += _cpu_quota((self._read(f"{folder}/cpu.max")).split())
            memory += self._memory(folder, "memory.max", "memory.current", "inactive_file")
        for folder in self._levels(legacy, "sys/fs/cgroup/memory"):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            memory += self._memory(folder, *names)
        return (
            min(quotas, default=None),
            min((limit for limit, _ in memory), default=None),
            min((left for _, left in memory), default=None),
        )

    def _levels(self, group: PurePosixPath | None, mount: str) -> Iterator[str]:
        # A container often sees only its own subtree, mounted as the whole: missing levels are
        # skipped by reading nothing from them.
        if group is not None:
            for level in (group, *group.parents):
                yield f"{mount}/{str(level).strip('/')}".rstrip("/")

    def _memory(
        self, folder: str, limit_name: str, used_name: str, cache_name: str
    ) -> list[tuple[int, int]]:
        limit, used = _number(self._read(f"{folder}/{limit_name}")), None
        if limit is None or limit >= _UNLIMITED:
            return []
        used = _number(self._read(f"{folder}/{used_name}")) or 0
        stat = dict(
            line.split(" ", 1) for line in self._read(f"{folder}/memory.stat").splitlines() if line
        )
        # File pages that nobody touched lately are given back before anyone is refused memory.
        reclaimable = _number(stat.get(cache_name, "")) or 0
        return [(limit, max(0, limit - used + reclaimable))]

    def _read(self, path: str) -> str:
        try:
            return (self._root / path).read_text("utf-8", "replace")
        except OSError:
            return ""


def _number(text: str) -> int | None:
    stripped = text.strip()
    return int(stripped) if stripped.isdecimal() else None


def _cpu_quota(fields: list[str]) -> list[int]:
    if len(fields) != 2 or not all(field.isdecimal() for field in fields) or fields[1] == "0":
        return []
    return [max(1, math.ceil(int(fields[0]) / int(fields[1])))]
