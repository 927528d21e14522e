"""The CPU and main memory of a Mac: names and features from sysctl, amounts from psutil."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import psutil

from orchestrator_core.contracts.pool import Backend, DeviceReport
from pool_core.devices.commands import Run
from pool_core.devices.mac_facts import read_sysctl
from pool_core.devices.tree import whole

__all__ = ["HostLoad", "mac_cpu", "mac_load"]

_NAMES: Final = (
    "machdep.cpu.brand_string",
    "hw.physicalcpu",
    "hw.memsize",
    "machdep.cpu.features",
    "machdep.cpu.leaf7_features",
    "hw.optional.arm.FEAT_DotProd",
    "hw.optional.arm.FEAT_I8MM",
    "hw.optional.arm.FEAT_BF16",
)
# Features are named as Linux names them, so that one list serves every engine.
_ARM_FEATURES: Final = {
    "hw.optional.arm.FEAT_DotProd": "asimddp",
    "hw.optional.arm.FEAT_I8MM": "i8mm",
    "hw.optional.arm.FEAT_BF16": "bf16",
}
_INTEL_FEATURES: Final = {
    "AVX1.0": "avx",
    "AVX2": "avx2",
    "FMA": "fma",
    "F16C": "f16c",
    "BMI2": "bmi2",
    "AVX512F": "avx512f",
    "AVX512VL": "avx512vl",
    "AVX512BW": "avx512bw",
    "AVX512VNNI": "avx512_vnni",
}


@dataclass(frozen=True, slots=True)
class HostLoad:
    """Memory at this moment, and the CPU seconds spent so far: busy ones and all."""

    memory_total_bytes: int
    memory_available_bytes: int
    cpu_busy_s: float
    cpu_total_s: float


def mac_load() -> HostLoad:
    """Ask the system through psutil."""
    memory, times = psutil.virtual_memory(), psutil.cpu_times()
    total = float(sum(times))
    return HostLoad(memory.total, memory.available, total - times.idle, total)


def mac_cpu(run: Run, cpus: Callable[[], int], load: HostLoad) -> DeviceReport:
    """Describe the one CPU device of a Mac."""
    facts = read_sysctl(run, _NAMES)
    name = facts.get("machdep.cpu.brand_string", "CPU")
    intel = facts.get("machdep.cpu.features", "").split()
    intel += facts.get("machdep.cpu.leaf7_features", "").split()
    features = {_INTEL_FEATURES[flag] for flag in intel if flag in _INTEL_FEATURES}
    features |= {spelled for flag, spelled in _ARM_FEATURES.items() if facts.get(flag) == "1"}
    return DeviceReport(
        id="cpu",
        index=0,
        kind="cpu",
        name=name,
        backends=[Backend.CPU],
        vendor="other",
        memory_total_bytes=load.memory_total_bytes,
        memory_free_bytes=load.memory_available_bytes,
        # The GPU of these machines has no memory of its own: it takes from this.
        unified_memory=name.startswith("Apple"),
        cores=whole(facts.get("hw.physicalcpu", "")) or cpus(),
        features=tuple(sorted(features)),
    )
