"""Judges the interpreter, the engine, its library and the worker program: pure."""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from orchestrator_core.contracts.pool import DeviceReport
from orchestrator_core.findings import Finding, Severity
from pool_core.doctor.facts import SoftwareFacts

__all__ = ["judge_software"]

# The first releases without the known faults in reading archives and certificates.
_PATCH_FLOOR: Final[Mapping[tuple[int, int], int]] = MappingProxyType(
    {(3, 11): 17, (3, 12): 15, (3, 13): 16}
)
_NEEDED: Final = ("avx2", "fma", "f16c")
_X86: Final = frozenset({"x86_64", "amd64", "AMD64"})


def judge_software(facts: SoftwareFacts, devices: Sequence[DeviceReport]) -> Iterator[Finding]:
    """What runs workers."""
    yield _python(facts)
    yield _engine(facts)
    if facts.missing_library is not None:
        text = f"the engine needs {facts.missing_library}, which is not installed"
        fix = "apt install libgomp1 (dnf install libgomp)"
        yield Finding(Severity.ERROR, "engine library", text, fix)
    yield from _cpu(facts, devices)
    yield _worker(facts)


def _python(facts: SoftwareFacts) -> Finding:
    version = ".".join(str(number) for number in facts.python)
    floor = _PATCH_FLOOR.get(facts.python[:2])
    if floor is None or facts.python[2] >= floor:
        return Finding(Severity.OK, "python", f"Python {version}")
    major, minor = facts.python[:2]
    text = f"Python {version} lacks the security fixes of {major}.{minor}.{floor}"
    return Finding(Severity.NOTE, "python", text, f"update Python {major}.{minor}")


def _engine(facts: SoftwareFacts) -> Finding:
    if facts.engine_build is None:
        text = "the embedded engine is not installed: workers on CPU and Metal cannot start"
        return Finding(Severity.ERROR, "engine", text, "pip install llorch-worker")
    return Finding(Severity.OK, "engine", f"llama.cpp {facts.engine_build} (embedded)")


def _cpu(facts: SoftwareFacts, devices: Sequence[DeviceReport]) -> Iterator[Finding]:
    if facts.machine not in _X86:
        return
    for device in devices:
        if device.kind == "cpu" and device.features:
            missing = [name for name in _NEEDED if name not in device.features]
            if missing:
                text = f"this CPU has no {', '.join(missing)}, which the embedded engine needs"
                fix = "a virtual machine may hide it: pass the host's CPU through"
                yield Finding(Severity.ERROR, "cpu", text, fix)


def _worker(facts: SoftwareFacts) -> Finding:
    if facts.worker_program is None:
        text = "llorch-worker is neither beside this program nor on PATH"
        fix = "pip install llorch-worker, or set worker_program in pool.toml"
        return Finding(Severity.ERROR, "worker program", text, fix)
    if not facts.worker_is_runnable:
        text = f"{facts.worker_program} is no program that this user may run"
        return Finding(Severity.ERROR, "worker program", text, "set worker_program in pool.toml")
    return Finding(Severity.OK, "worker program", str(facts.worker_program))
