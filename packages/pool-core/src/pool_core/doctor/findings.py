"""Judges the facts of a host: pure, one finding per subject and fault, the worst first."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from orchestrator_core.findings import Finding, Severity, worst_first
from pool_core.doctor.daemon_findings import judge_daemon, judge_service
from pool_core.doctor.facts import HostFacts
from pool_core.doctor.hardware_findings import judge_devices, judge_kernel
from pool_core.doctor.software_findings import judge_software
from pool_core.doctor.storage_findings import judge_storage

__all__ = ["judge"]

T = TypeVar("T")


def judge(facts: HostFacts) -> list[Finding]:
    """Everything that is worth a line."""
    devices = facts.devices.devices if facts.devices else ()
    found = [
        *_part(facts.software, lambda part: judge_software(part, devices)),
        *_part(facts.storage, judge_storage),
        *_part(facts.devices, judge_devices),
        *_part(facts.kernel, judge_kernel),
        *_part(facts.daemon, judge_daemon),
        *_part(facts.service, judge_service),
        *(_unread(name, why) for name, why in facts.unread.items()),
    ]
    return worst_first(found)


def _part(part: T | None, rule: Callable[[T], Iterable[Finding]]) -> Iterable[Finding]:
    return () if part is None else rule(part)


def _unread(name: str, why: str) -> Finding:
    text = f"this part of the host could not be read: {why}"
    return Finding(Severity.WARNING, name, text, "look for a dead mount or a driver that hangs")
