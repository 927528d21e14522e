"""Turns two pictures of the workers into what happened between them: pure.

The log lines and the counters of starts and stops are made from these happenings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator_core.contracts.pool import WorkerReport, WorkerStatus

__all__ = ["Happening", "Picture", "WorkerEvent", "compare", "pictures"]


class Happening(StrEnum):
    """What a worker did."""

    STARTING = "starting"
    READY = "ready"
    START_FAILED = "start_failed"
    CRASHED = "crashed"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class WorkerEvent:
    """One happening of one worker."""

    happening: Happening
    worker: WorkerReport


_SERVING: Final = frozenset({WorkerStatus.READY, WorkerStatus.BUSY})
_BROKEN: Final = frozenset({WorkerStatus.FAILED, WorkerStatus.PARKED})
_ENDED: Final = _BROKEN | {WorkerStatus.STOPPED}

Picture = Mapping[tuple[str, int], WorkerReport]


def pictures(reports: Sequence[WorkerReport]) -> Picture:
    """Index reports by process, since a restarted worker keeps its id."""
    return {(report.id, report.incarnation): report for report in reports}


def compare(before: Picture, after: Picture) -> list[WorkerEvent]:
    """Name what happened, process by process."""
    events: list[WorkerEvent] = []
    for process, report in after.items():
        earlier = before.get(process)
        happening = _happening(earlier.status if earlier else None, report)
        if happening is not None:
            events.append(WorkerEvent(happening, report))
    for process, report in before.items():
        if process not in after and report.status not in _ENDED:
            events.append(WorkerEvent(Happening.STOPPED, report))
    return events


def _happening(earlier: WorkerStatus | None, report: WorkerReport) -> Happening | None:
    status = report.status
    if status is earlier:
        return None
    if status in _SERVING:
        return None if earlier in _SERVING else Happening.READY
    if status in _BROKEN:
        if earlier in _ENDED:
            return None
        return Happening.CRASHED if report.ready_at else Happening.START_FAILED
    if status is WorkerStatus.STOPPED:
        return Happening.STOPPED if earlier not in _ENDED else None
    return Happening.STARTING if earlier is None else None
