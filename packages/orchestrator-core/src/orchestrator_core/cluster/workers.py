"""The states of a worker, the moves between them, and how a pool's report updates a record.

Reports are samples: a report may skip states, but within one incarnation it never goes back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from orchestrator_core.cluster.slots import WorkerSlots
from orchestrator_core.contracts.pool import Owner, WorkerReport, WorkerSpec, WorkerStatus
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.ids import PoolId, WorkerId

__all__ = [
    "ALIVE",
    "COMING",
    "MOVES",
    "REACHABLE",
    "SERVING",
    "ServiceKey",
    "WorkerRecord",
    "observe",
]

_S = WorkerStatus
_ENDS: Final = frozenset({_S.STOPPED, _S.FAILED})

MOVES: Final[Mapping[WorkerStatus, frozenset[WorkerStatus]]] = MappingProxyType(
    {
        _S.STARTING: frozenset({_S.LOADING, _S.DRAINING}) | _ENDS,
        _S.LOADING: frozenset({_S.READY, _S.DRAINING, _S.UNCLAIMED}) | _ENDS,
        _S.READY: frozenset({_S.BUSY, _S.DRAINING, _S.UNCLAIMED}) | _ENDS,
        _S.BUSY: frozenset({_S.READY, _S.DRAINING, _S.UNCLAIMED}) | _ENDS,
        _S.DRAINING: _ENDS,
        _S.STOPPED: frozenset(),
        _S.FAILED: frozenset({_S.PARKED}),
        _S.PARKED: frozenset({_S.STOPPED}),
        _S.UNCLAIMED: frozenset({_S.READY}) | _ENDS,
    }
)


def _reachable() -> dict[WorkerStatus, frozenset[WorkerStatus]]:
    closure: dict[WorkerStatus, frozenset[WorkerStatus]] = {}
    for start in WorkerStatus:
        seen = {start}
        frontier = [start]
        while frontier:
            fresh = MOVES[frontier.pop()] - seen
            seen |= fresh
            frontier += fresh
        closure[start] = frozenset(seen)
    return closure


REACHABLE: Final[Mapping[WorkerStatus, frozenset[WorkerStatus]]] = MappingProxyType(_reachable())

COMING: Final = frozenset({_S.STARTING, _S.LOADING})
SERVING: Final = frozenset({_S.READY, _S.BUSY})
ALIVE: Final = COMING | SERVING | {_S.DRAINING}


class ServiceKey(NamedTuple):
    """What workers serve and jobs ask for: the key of a sub-queue."""

    model: str
    task: TaskKind


@dataclass(slots=True, eq=False, kw_only=True)
class WorkerRecord:
    """A worker as the decisions see it.

    `usable` says that it may get work at all (wanted by us, or a person's own); `open` is the
    scheduler's verdict that it may get work now, slots aside. `came_at` is when it began to come;
    one that takes too long is `overdue` and counts no longer as on its way.
    """

    worker_id: WorkerId
    pool_id: PoolId
    key: ServiceKey
    owner: Owner
    spec: WorkerSpec
    slots: WorkerSlots
    slots_total: int
    status: WorkerStatus = WorkerStatus.STARTING
    status_since: float = 0.0
    generation: int = 1
    incarnation: int = 1
    report: WorkerReport | None = None
    came_at: float = 0.0
    overdue: bool = False
    was_ready: bool = False
    usable: bool = False
    stop_ordered: bool = False
    blocked_at: float | None = None
    open: bool = False

    @property
    def free(self) -> int:
        """Slots that nobody holds."""
        return self.slots_total - self.slots.used

    @property
    def ours(self) -> bool:
        """True when the orchestrator ordered it, so that it may also stop it."""
        return self.owner is Owner.ORCHESTRATOR


def observe(record: WorkerRecord, report: WorkerReport, at: float) -> bool:
    """Fold a report into the record; False when it contradicts what is known and is ignored.

    A new process, or none any more, computes nothing of what the old one did: what lingered there
    is over.
    """
    if report.incarnation < record.incarnation:
        return False
    newer = report.incarnation > record.incarnation
    if not newer and record.report is not None and report.status not in REACHABLE[record.status]:
        return False
    if newer or (report.status in COMING and record.status not in COMING):
        record.came_at, record.overdue = at, False
    if newer or report.status is not record.status:
        record.status, record.status_since = report.status, at
    record.incarnation, record.report = report.incarnation, report
    if newer or report.status not in ALIVE:
        record.slots.let_all_go()
    record.slots_total = max(1, report.slots_total)
    record.slots.peak = max(record.slots.peak, record.slots_total)
    serving = report.status in SERVING
    # A count that can only grow tells a worker that never came up from one that came and went.
    record.was_ready = record.was_ready or serving or report.ready_at is not None
    blocked_at = record.blocked_at
    if blocked_at is not None and (newer or (serving and at > blocked_at)):
        record.blocked_at = None
    return True
