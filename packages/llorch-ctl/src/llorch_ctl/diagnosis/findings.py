"""Judges everything that was read of this machine: pure, the worst first."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TypeVar

from llorch_ctl.diagnosis.cluster_findings import judge_daemon, judge_host, judge_orchestrator
from llorch_ctl.diagnosis.facts import ControlFacts
from llorch_ctl.diagnosis.local_findings import judge_local, judge_settings, judge_ssh
from orchestrator_core.findings import Finding, Severity, worst_first

__all__ = ["judge"]

T = TypeVar("T")


def judge(facts: ControlFacts) -> list[Finding]:
    """Everything that is worth a line."""
    found = [
        *_part(facts.local, judge_local),
        *_part(facts.ssh, judge_ssh),
        *_part(facts.faults, judge_settings),
        *_part(facts.daemons, lambda them: _each(them, judge_daemon)),
        *_part(facts.orchestrator, judge_orchestrator),
        *_part(facts.hosts, lambda them: _each(them, judge_host)),
        *(_unread(name, why) for name, why in facts.unread.items()),
    ]
    return worst_first(found)


def _part(part: T | None, rule: Callable[[T], Iterable[Finding]]) -> Iterable[Finding]:
    return () if part is None else rule(part)


def _each(parts: Sequence[T], rule: Callable[[T], Iterable[Finding]]) -> Iterable[Finding]:
    return chain.from_iterable(rule(part) for part in parts)


def _unread(name: str, why: str) -> Finding:
    text = f"{name} could not be read: {why}"
    return Finding(Severity.WARNING, name, text, "report it with: llorch support-bundle")
