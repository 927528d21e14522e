"""Judges devices, memory and the limits of the kernel: pure."""

from collections.abc import Iterator
from typing import Final

from orchestrator_core.contracts.pool import DeviceReport
from orchestrator_core.findings import Finding, Severity
from orchestrator_core.units import MIB, format_bytes
from pool_core.doctor.facts import DeviceFacts, KernelFacts

__all__ = ["judge_devices", "judge_kernel"]

# A worker's own libraries and buffers, before its first byte of a model.
_WORKER_BYTES: Final = 128 * MIB
_FEW_FILES: Final = 256
_STRICT_OVERCOMMIT: Final = 2


def judge_devices(facts: DeviceFacts) -> Iterator[Finding]:
    """What computes, and what keeps the rest from it."""
    told: set[str] = set()
    for device in facts.devices:
        if device.fault is not None:
            told.add(device.fault)
            yield _faulty(device, device.fault)
        else:
            yield Finding(Severity.OK, f"device {device.id}", _about(device))
    for probe, fault in facts.faults.items():
        if fault not in told:
            fix = "see the driver's own tool and the kernel's log (dmesg)"
            yield Finding(Severity.WARNING, f"driver {probe}", fault, fix)
    if not facts.devices:
        text = "not even a processor was found"
        yield Finding(Severity.ERROR, "devices", text, "is /proc mounted?")
    groups = sorted({node.group for node in facts.closed_nodes})
    if groups:
        names = ", ".join(str(node.path) for node in facts.closed_nodes)
        text = f"this user may not open {names}: the graphics card cannot be used"
        fix = f"sudo usermod -aG {','.join(groups)} {facts.user}, then log in anew"
        yield Finding(Severity.WARNING, "device files", text, fix)


def judge_kernel(facts: KernelFacts) -> Iterator[Finding]:
    """What the kernel and the control groups allow."""
    if facts.has_pidfd is False:
        text = "this kernel offers no pidfd, without which no worker can be supervised"
        yield Finding(Severity.ERROR, "kernel", text, "use Linux 5.3 or newer")
    if facts.overcommit == _STRICT_OVERCOMMIT:
        text = "memory is never promised twice here: a model may be refused although it fits"
        yield Finding(Severity.WARNING, "overcommit", text, "sysctl vm.overcommit_memory=0")
    if facts.open_files_max is not None and 0 <= facts.open_files_max < _FEW_FILES:
        text = f"a process may open {facts.open_files_max} files"
        yield Finding(Severity.WARNING, "open files", text, "ulimit -n 4096")
    yield from _ports(facts)
    yield from _memory(facts)


def _about(device: DeviceReport) -> str:
    free, total = format_bytes(device.memory_free_bytes), format_bytes(device.memory_total_bytes)
    return f"{device.name}: {free} of {total} free"


def _faulty(device: DeviceReport, fault: str) -> Finding:
    seen = " (as last seen)" if device.stale else ""
    fix = "see the driver's own tool and the kernel's log (dmesg); a restart may be needed"
    return Finding(Severity.WARNING, f"device {device.id}", f"{device.name}{seen}: {fault}", fix)


def _ports(facts: KernelFacts) -> Iterator[Finding]:
    if facts.outgoing_ports is None:
        return
    first = max(facts.outgoing_ports[0], facts.worker_ports[0])
    last = min(facts.outgoing_ports[1], facts.worker_ports[1])
    reserved = _spans(facts.reserved_ports)
    if first <= last and not any(low <= first and last <= high for low, high in reserved):
        text = f"outgoing connections may take the ports {first}-{last} from workers"
        fix = f"sysctl net.ipv4.ip_local_reserved_ports={first}-{last}"
        yield Finding(Severity.WARNING, "worker ports", text, fix)


def _spans(text: str) -> Iterator[tuple[int, int]]:
    for part in text.split(","):
        low, _, high = part.strip().partition("-")
        if low.isdecimal():
            yield int(low), int(high) if high.isdecimal() else int(low)


def _memory(facts: KernelFacts) -> Iterator[Finding]:
    total, limit = facts.memory_bytes, facts.memory_limit_bytes
    usable = min((each for each in (total, limit) if each is not None), default=None)
    needed = facts.smallest_model_bytes + _WORKER_BYTES
    if usable is not None and usable < needed:
        text = f"{format_bytes(usable)} of memory: the smallest worker needs {format_bytes(needed)}"
        fix = "raise the limit of the control group" if usable == limit else "use a larger machine"
        yield Finding(Severity.ERROR, "memory", text, fix)
    elif limit is not None and total is not None and limit < total:
        text = f"a control group limits us to {format_bytes(limit)} of {format_bytes(total)}"
        yield Finding(Severity.NOTE, "memory limit", text, "raise it if larger models shall fit")
    if facts.cpu_limit is not None:
        text = f"a control group limits us to the time of {facts.cpu_limit} CPUs"
        yield Finding(Severity.NOTE, "cpu limit", text, "raise it if answers shall come faster")
