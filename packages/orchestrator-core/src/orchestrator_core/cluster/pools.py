"""The record of a pool, the states of its liveness, and the rule that moves between them.

Only the moment at which the orchestrator received the last word counts, never a pool's own clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from orchestrator_core.contracts.pool import (
    DeviceReport,
    ModelReport,
    PoolState,
    WantedSet,
    WantedWorker,
)
from orchestrator_core.ids import PoolId, SessionId, WorkerId

__all__ = ["MOVES", "PoolRecord", "heard_status", "judge_silence", "next_judgement_at"]

_S = PoolState

MOVES: Final[Mapping[PoolState, frozenset[PoolState]]] = MappingProxyType(
    {
        _S.ONLINE: frozenset({_S.SUSPECT, _S.DRAINING}),
        _S.SUSPECT: frozenset({_S.ONLINE, _S.DRAINING, _S.LOST}),
        _S.LOST: frozenset({_S.ONLINE, _S.DRAINING}),
        _S.DRAINING: frozenset({_S.ONLINE, _S.SUSPECT}),
    }
)


@dataclass(slots=True, eq=False, kw_only=True)
class PoolRecord:
    """A pool as the decisions see it; wanted and revision belong to the current session.

    `draining` is the pool's own last word and outlives its silence: a pool that is suspect may
    still be one that drains.
    """

    pool_id: PoolId
    session_id: SessionId
    last_seen_at: float
    status: PoolState = PoolState.ONLINE
    draining: bool = False
    endpoint: str = ""
    version: str = ""
    devices: tuple[DeviceReport, ...] = ()
    models: tuple[ModelReport, ...] = ()
    engines: tuple[str, ...] = ()
    revision: int = 0
    wanted: dict[WorkerId, WantedWorker] = field(default_factory=dict[WorkerId, WantedWorker])
    worker_ids: set[WorkerId] = field(default_factory=set[WorkerId])

    def want(self, wanted: WantedWorker) -> int:
        """Add a worker to the wanted set and return the new revision."""
        self.wanted[WorkerId(wanted.worker_id)] = wanted
        self.revision += 1
        return self.revision

    def unwant(self, worker_id: WorkerId) -> None:
        """Take a worker out of the wanted set; a changed set has a new revision."""
        if self.wanted.pop(worker_id, None) is not None:
            self.revision += 1

    def wanted_set(self) -> WantedSet:
        """The whole wanted set as the pool is told it."""
        return WantedSet(revision=self.revision, workers=list(self.wanted.values()))


def judge_silence(
    last_seen_at: float,
    at: float,
    *,
    suspect_after_s: float,
    lost_after_s: float,
    draining: bool = False,
) -> PoolState:
    """Say what a pool is that was last heard of then; silence weighs more than draining."""
    if at >= last_seen_at + lost_after_s:
        return PoolState.LOST
    if at >= last_seen_at + suspect_after_s:
        return PoolState.SUSPECT
    return heard_status(draining=draining)


def heard_status(*, draining: bool) -> PoolState:
    """Say what a pool is that has just spoken."""
    return PoolState.DRAINING if draining else PoolState.ONLINE


def next_judgement_at(
    status: PoolState, last_seen_at: float, *, suspect_after_s: float, lost_after_s: float
) -> float | None:
    """When a further silence changes the verdict; None when nothing is left to lose."""
    if status is PoolState.LOST:
        return None
    return last_seen_at + (lost_after_s if status is PoolState.SUSPECT else suspect_after_s)
