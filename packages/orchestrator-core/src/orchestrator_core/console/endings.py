"""Ends processes by their identity: TERM, a bounded wait, KILL with a word about it."""

import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator_core.clock import SystemClock
from orchestrator_core.errors import Code, HostError, Refusal
from orchestrator_core.platforms.port import Platform, ProcessIdentity

__all__ = ["Ending", "Pace", "end_processes"]

_KILL_WAIT_S: Final = 5.0


class Ending(StrEnum):
    """How a process came to its end."""

    NOT_RUNNING = "not running"
    STOPPED = "stopped"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class Pace:
    """How a command waits for something of which it gets no signal."""

    monotonic_s: Callable[[], float] = SystemClock().monotonic_s
    pause: Callable[[float], None] = time.sleep
    step_s: float = 0.05


def end_processes(
    identities: Sequence[ProcessIdentity],
    send: Callable[[ProcessIdentity, int], bool],
    platform: Platform,
    *,
    grace_s: float,
    pace: Pace,
) -> list[Ending]:
    """End processes together and tell, in their order, how each came to its end."""
    reached = [identity for identity in identities if send(identity, signal.SIGTERM)]
    for identity in reached:
        # A process that was frozen hears TERM only once it is continued.
        send(identity, signal.SIGCONT)
    left = _wait_for(reached, platform, grace_s, pace)
    killed = [identity for identity in left if send(identity, signal.SIGKILL)]
    left = _wait_for(left, platform, _KILL_WAIT_S, pace)
    if left:
        pids = ", ".join(str(identity.pid) for identity in left)
        raise HostError(Refusal(Code.INTERNAL, f"process {pids} does not end, not even by KILL"))
    return [_ending(identity, reached, killed) for identity in identities]


def _wait_for(
    identities: Sequence[ProcessIdentity], platform: Platform, timeout_s: float, pace: Pace
) -> list[ProcessIdentity]:
    deadline_s = pace.monotonic_s() + timeout_s
    while left := [identity for identity in identities if platform.is_alive(identity)]:
        if pace.monotonic_s() >= deadline_s:
            break
        pace.pause(pace.step_s)
    return left


def _ending(
    identity: ProcessIdentity,
    reached: Sequence[ProcessIdentity],
    killed: Sequence[ProcessIdentity],
) -> Ending:
    if identity in killed:
        return Ending.KILLED
    return Ending.STOPPED if identity in reached else Ending.NOT_RUNNING
