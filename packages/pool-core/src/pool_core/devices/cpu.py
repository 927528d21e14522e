"""The CPU and main memory as one device, within the limits that this process really has.

Reads /proc and /sys below a root that tests replace; the parsing functions are pure. Affinity
and cgroup limits count, because a container sees the whole machine's cores and memory.
"""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from orchestrator_core.contracts.pool import Backend, DeviceReport
from pool_core.devices.cgroups import group_limits
from pool_core.devices.commands import Run, run_command
from pool_core.devices.host_memory import parse_meminfo
from pool_core.devices.mac_cpu import HostLoad, mac_cpu, mac_load
from pool_core.devices.port import Sighting
from pool_core.devices.tree import Tree, whole

__all__ = ["CpuFacts", "CpuProbe", "parse_cpu_times", "parse_cpuinfo", "usable_cpus"]

_FEATURES: Final = frozenset(
    {"avx", "avx2", "fma", "f16c", "bmi2", "avx_vnni", "avx512f", "avx512vl", "avx512bw"}
    | {"avx512_vnni", "avx512_bf16", "amx_tile", "amx_int8", "amx_bf16"}
    | {"asimddp", "i8mm", "bf16", "sve"}
)


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


def parse_cpu_times(text: str) -> tuple[float, float] | None:
    """Busy and all ticks since the host started, from the first line of /proc/stat."""
    name, *fields = (text.splitlines() or [""])[0].split() or [""]
    # The first eight are user, nice, system, idle, iowait, irq, softirq and steal; the times of
    # guests that follow are already counted as user time.
    ticks = [count for field in fields[:8] if (count := whole(field)) is not None]
    if name != "cpu" or len(ticks) < 5:
        return None
    return float(sum(ticks) - ticks[3] - ticks[4]), float(sum(ticks))


class CpuProbe:
    """Describes the one CPU device of a host; its load is the one between two looks."""

    def __init__(
        self,
        root: Path = Path("/"),
        cpus: Callable[[], int] = usable_cpus,
        *,
        platform: str = sys.platform,
        run: Run = run_command,
        load: Callable[[], HostLoad] = mac_load,
    ) -> None:
        self._tree = Tree(root)
        self._cpus = cpus
        self._platform = platform
        self._run = run
        self._load = load
        self._times: tuple[float, float] | None = None

    def look(self) -> Sighting:
        """One device; unreadable files leave their facts out."""
        try:
            device, times = self._mac() if self._platform == "darwin" else self._linux()
        except (OSError, psutil.Error) as error:
            return Sighting(fault=f"the system does not tell its memory: {error}")
        used = device.memory_total_bytes - device.memory_free_bytes
        facts = {
            "memory_used_bytes": used if device.memory_total_bytes else None,
            "utilization_percent": self._utilization(times),
        }
        return Sighting((device.model_copy(update=facts),))

    def close(self) -> None:
        """Nothing is held open."""

    def _mac(self) -> tuple[DeviceReport, tuple[float, float] | None]:
        load = self._load()
        return mac_cpu(self._run, self._cpus, load), (load.cpu_busy_s, load.cpu_total_s)

    def _linux(self) -> tuple[DeviceReport, tuple[float, float] | None]:
        facts = parse_cpuinfo(self._tree.text("proc/cpuinfo"))
        total, free = parse_meminfo(self._tree.text("proc/meminfo"))
        limits = group_limits(self._tree)
        limit, left = limits.memory_bytes, limits.memory_left_bytes
        cpus = min(self._cpus(), limits.cpus or self._cpus())
        total = min(total, limit) if limit else total
        free = min(free, left) if left is not None else free
        device = DeviceReport(
            id="cpu",
            index=0,
            kind="cpu",
            name=facts.name,
            backends=[Backend.CPU],
            vendor="other",
            memory_total_bytes=total,
            memory_free_bytes=min(free, total),
            cores=max(1, min(facts.cores or cpus, cpus)),
            features=facts.features,
        )
        return device, parse_cpu_times(self._tree.text("proc/stat"))

    def _utilization(self, times: tuple[float, float] | None) -> float | None:
        before, self._times = self._times, times
        if before is None or times is None or times[1] <= before[1]:
            return None
        share = (times[0] - before[0]) / (times[1] - before[1])
        return round(100 * min(1.0, max(0.0, share)), 1)
