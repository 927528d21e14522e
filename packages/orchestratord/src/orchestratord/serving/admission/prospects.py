"""Whether a job that comes now has a future: a model that loads, a deadline that can be met. Pure.

Takes what the machine says of supply and forecast; gives refusals with an honest time to come back.
"""

import math
from dataclasses import replace
from typing import Final

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.scheduler.outlook import Forecast, Supply

__all__ = ["deadline_refusal", "later", "waiters_refusal"]

_RETRY_MIN_S: Final = 1
_RETRY_MAX_S: Final = 60


def later(refusal: Refusal, wait_s: float | None) -> Refusal:
    """Tell when to come back, within the minute that every client obeys."""
    if wait_s is None:
        wait_s = _RETRY_MAX_S
    seconds = max(_RETRY_MIN_S, min(math.ceil(wait_s), _RETRY_MAX_S))
    return replace(refusal, retry_after_s=seconds)


def waiters_refusal(model: str, supply: Supply, live: int, limit: int) -> Refusal | None:
    """Refuse one more that would wait for a model that loads; live counts all jobs for it.

    While nothing is on its way either, jobs do not wait for a load but for a pool: then the bounds
    of the queue alone hold.
    """
    if supply.slots_open or not supply.coming or live < limit:
        return None
    message = (
        f"{live} jobs wait for {model}, which is being loaded; more may not wait "
        "(load_waiters_limit): try again once it is there"
    )
    return Refusal(Code.LOADING, message, {"bound": "load_waiters_limit", "limit": limit})


def deadline_refusal(deadline_s: float, forecast: Forecast) -> Refusal | None:
    """Refuse a job that will not even have begun by its deadline; the unknown is let in."""
    start_in_s = forecast.start_in_s
    if start_in_s is None or start_in_s <= deadline_s:
        return None
    message = (
        f"a job that comes now will start in about {start_in_s:.0f} s, "
        f"but its deadline is in {deadline_s:g} s: allow more time"
    )
    details = {"start_in_s": round(start_in_s, 3), "deadline_ms": round(deadline_s * 1000)}
    return Refusal(Code.DEADLINE, message, details)
