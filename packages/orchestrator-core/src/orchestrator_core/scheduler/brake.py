"""The mass-loss brake: when most pools fall silent at once, the fault is probably on our side.

Silent pools then stay suspect instead of lost: their workers are not forgotten and nothing is
ordered in their place, until enough of them are heard again or the brake has held for too long.
"""

from typing import Final

from orchestrator_core.contracts.pool import PoolState
from orchestrator_core.ids import PoolId
from orchestrator_core.scheduler.state import MachineState

__all__ = ["apply_brake", "brake_line", "held_until"]

# Of two pools one may well be gone, and of three that are left after a loss as well.
_POOLS_MIN: Final = 3
_SILENT_MIN: Final = 2


def apply_brake(state: MachineState, at: float) -> list[PoolId]:
    """Pull or loosen the brake by the pools of now; returns those it held and holds no longer."""
    known, silent = _count(state)
    mass = silent >= max(_SILENT_MIN, state.limits.brake_share * known)
    if known >= _POOLS_MIN and mass:
        if state.brake_since is None:
            state.brake_since = at
        return []
    if state.brake_since is None:
        return []
    state.brake_since = None
    pools = state.pools.values()
    return [pool.pool_id for pool in pools if pool.status is PoolState.SUSPECT]


def held_until(state: MachineState, at: float) -> float | None:
    """Until when no pool is given up; None: the brake does not hold."""
    if state.brake_since is None:
        return None
    until = state.brake_since + state.limits.brake_max_s
    return until if until > at else None


def brake_line(state: MachineState) -> str | None:
    """What a waiting job's owner should know of it."""
    if state.brake_since is None:
        return None
    known, silent = _count(state)
    return f"{silent} of {known} pools fell silent at once: none is given up before they are heard"


def _count(state: MachineState) -> tuple[int, int]:
    # A pool that was lost earlier is no sign of anything: it was silent alone.
    known = [pool for pool in state.pools.values() if pool.status is not PoolState.LOST]
    return len(known), sum(pool.status is PoolState.SUSPECT for pool in known)
