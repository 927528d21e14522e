"""Signals a whole session when the kernel has no call for it: member by member, also late ones."""

from collections.abc import Callable, Sequence
from typing import Final

from orchestrator_core.errors import HostError

__all__ = ["signal_members"]

_PASSES: Final = 5


def signal_members(members: Callable[[], Sequence[int]], signal: Callable[[int], bool]) -> bool:
    """Signal each member once; True when one was reached, an error when none may be.

    A member may fork while we count, so we count again until nobody new turns up. One whom we have
    no right to signal must not save the others.
    """
    done: set[int] = set()
    reached = False
    denied: HostError | None = None
    for _ in range(_PASSES):
        fresh = [pid for pid in members() if pid not in done]
        if not fresh:
            break
        done.update(fresh)
        for pid in fresh:
            try:
                reached = signal(pid) or reached
            except HostError as error:
                denied = error
    if denied is not None and not reached:
        raise denied
    return reached
