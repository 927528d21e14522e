"""The GPU of a Mac with Apple's own processor; its memory is the host's, up to a limit of Metal.

Facts come from programs of the system (sysctl, ioreg, system_profiler) and from a helper process
that asks Metal; nothing of Metal is ever loaded into this process.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import psutil

from orchestrator_core.contracts.pool import Backend, DeviceReport
from pool_core.devices.apple_text import (
    AppleGpu,
    GpuLoad,
    parse_displays,
    parse_load,
    parse_uuid,
)
from pool_core.devices.commands import Run, run_command
from pool_core.devices.mac_facts import read_sysctl
from pool_core.devices.port import Sighting
from pool_core.devices.tree import whole

__all__ = ["AppleProbe", "mac_available_bytes", "usual_limit_bytes"]

_NAMES: Final = (
    "machdep.cpu.brand_string",
    "hw.memsize",
    "hw.model",
    "sysctl.proc_translated",
    "iogpu.wired_limit_mb",
)
_WORKING_SET: Final = (sys.executable, "-P", "-m", "pool_core.devices.apple_working_set")
_DISPLAYS: Final = ("system_profiler", "-json", "SPDisplaysDataType")
_LOAD: Final = ("ioreg", "-r", "-d", "1", "-c", "IOAccelerator", "-a")
_PLATFORM: Final = ("ioreg", "-rd1", "-c", "IOPlatformExpertDevice")
_TIMEOUT_S: Final = 3.0
_WORKING_SET_TIMEOUT_S: Final = 5.0
_DISPLAYS_TIMEOUT_S: Final = 10.0
_LARGE_BYTES: Final = 36 << 30


def mac_available_bytes() -> int:
    """What the host could still hand out."""
    return psutil.virtual_memory().available


def usual_limit_bytes(memory_bytes: int, wired_limit_mb: int) -> int:
    """How much the GPU may use where Metal cannot be asked: the operator's limit, or the usual."""
    if wired_limit_mb > 0:
        return min(wired_limit_mb << 20, memory_bytes)
    return memory_bytes * 2 // 3 if memory_bytes <= _LARGE_BYTES else memory_bytes * 3 // 4


class AppleProbe:
    """Describes the one GPU of a Mac; elsewhere there is nothing to see."""

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        platform: str = sys.platform,
        run: Run = run_command,
        available_bytes: Callable[[], int] = mac_available_bytes,
    ) -> None:
        # A Mac tells nothing through files: another root is another host, of which we know nothing.
        self._is_mac = platform == "darwin" and root == Path("/")
        self._run = run
        self._available_bytes = available_bytes
        self._gpu: AppleGpu | None = None
        self._uuid: str | None = None
        self._limit: tuple[tuple[int, int], int] | None = None

    def look(self) -> Sighting:
        """One device, or none on a Mac with another maker's GPU."""
        if not self._is_mac:
            return Sighting()
        facts = read_sysctl(self._run, _NAMES)
        chip = facts.get("machdep.cpu.brand_string", "")
        memory_bytes = _number(facts, "hw.memsize")
        if not chip or not memory_bytes:
            return Sighting(fault="sysctl does not tell which Mac this is")
        if not chip.startswith("Apple"):
            return Sighting()
        try:
            available = self._available_bytes()
        except (OSError, psutil.Error) as error:
            return Sighting(fault=f"the system does not tell its memory: {error}")
        limit = self._limit_bytes(memory_bytes, _number(facts, "iogpu.wired_limit_mb"))
        gpu = self._described()
        load = parse_load(self._told(_LOAD, _TIMEOUT_S))
        is_translated = facts.get("sysctl.proc_translated") == "1"
        stable = self._stable_uuid() or f"{facts.get('hw.model', 'Mac')}-{memory_bytes}"
        return Sighting(
            (
                DeviceReport(
                    id=f"APPLE-{stable}",
                    index=0,
                    kind="gpu",
                    name=gpu.name or chip,
                    backends=[] if is_translated else [Backend.METAL],
                    memory_total_bytes=limit,
                    memory_free_bytes=_free_bytes(limit, available, load),
                    memory_used_bytes=load.memory_used_bytes,
                    unified_memory=True,
                    cores=gpu.cores,
                    fault=_translated_fault() if is_translated else None,
                    vendor="apple",
                    architecture=gpu.family,
                    utilization_percent=load.utilization_percent,
                ),
            )
        )

    def close(self) -> None:
        """Nothing is held open."""

    def _told(self, argv: Sequence[str], timeout_s: float) -> str:
        ran = self._run(argv, timeout_s)
        return ran.output if ran and ran.code == 0 else ""

    def _described(self) -> AppleGpu:
        # This takes up to two seconds and never changes, so it is asked once, whatever it says.
        if self._gpu is None:
            self._gpu = parse_displays(self._told(_DISPLAYS, _DISPLAYS_TIMEOUT_S))
        return self._gpu

    def _stable_uuid(self) -> str | None:
        if self._uuid is None:
            self._uuid = parse_uuid(self._told(_PLATFORM, _TIMEOUT_S))
        return self._uuid

    def _limit_bytes(self, memory_bytes: int, wired_limit_mb: int) -> int:
        # Metal's answer follows the operator's limit, so it holds until that changes.
        asked = (memory_bytes, wired_limit_mb)
        if self._limit is None or self._limit[0] != asked:
            told = self._told(_WORKING_SET, _WORKING_SET_TIMEOUT_S).strip()
            usual = usual_limit_bytes(memory_bytes, wired_limit_mb)
            limit = whole(told) or 0
            self._limit = (asked, limit if 0 < limit <= memory_bytes else usual)
        return self._limit[1]


def _number(facts: dict[str, str], name: str) -> int:
    return whole(facts.get(name, "")) or 0


def _free_bytes(limit: int, available: int, load: GpuLoad) -> int:
    # What the GPU uses is already missing from what the host has left, so it counts against the
    # limit only.
    return max(0, min(limit - (load.memory_used_bytes or 0), available))


def _translated_fault() -> str:
    return (
        "this Python is an Intel build that runs under Rosetta: engines that it starts do not "
        "reach the GPU; install an arm64 build of Python"
    )
