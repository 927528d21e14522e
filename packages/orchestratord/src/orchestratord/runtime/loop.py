"""The mailbox of the machine: one writer, drained inline on the event loop's thread.

Facts come from the API, the pumps and the pools; commands go to the performer at once, in order.
The loop arms one timer for the alarm that the machine asks for. A broken machine stops the daemon.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import structlog

from orchestrator_core.clock import Clock
from orchestrator_core.scheduler.commands import Command
from orchestrator_core.scheduler.events import AttemptProgress, Event, PoolBeat, Tick
from orchestrator_core.scheduler.machine import Machine

__all__ = ["Loop"]

_log = structlog.get_logger(__name__)
_MAILBOX_LIMIT: Final = 65_536
# The loop's timers do not count the time in which the machine slept; the clock of the facts does.
_LONGEST_NAP_S: Final = 10.0

_Key = tuple[str, str, int | str]


class Loop:
    """Owns the machine; `post` is the only way to change its state."""

    def __init__(
        self,
        machine: Machine,
        *,
        clock: Clock,
        perform: Callable[[Command], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self.machine = machine
        self.failure: BaseException | None = None
        self._clock = clock
        self._perform = perform
        self._on_failure = on_failure
        self._mailbox: deque[list[Event]] = deque()
        self._latest: dict[_Key, list[Event]] = {}
        self._draining = False
        self._timer: asyncio.TimerHandle | None = None
        self._alarm_at: float | None = None

    def now(self) -> float:
        """The time that facts carry."""
        return self._clock.monotonic_s()

    def post(self, event: Event) -> None:
        """Tell the machine a fact; when this returns, its commands have been given out."""
        if self.failure is not None:
            return
        self._append(event)
        if not self._draining:
            self._drain()

    def close(self) -> None:
        """Give no more orders; used when the daemon stops."""
        self._disarm()
        self.failure = self.failure or asyncio.CancelledError("the loop is closed")

    def _append(self, event: Event) -> None:
        key = _coalescing_key(event)
        if key is not None and key in self._latest:
            self._latest[key][0] = event
            return
        if len(self._mailbox) >= _MAILBOX_LIMIT:
            self._fail(RuntimeError("the mailbox is full: the machine posts to itself for ever"))
            return
        cell = [event]
        self._mailbox.append(cell)
        if key is not None:
            self._latest[key] = cell

    def _drain(self) -> None:
        self._draining = True
        try:
            while self._mailbox and self.failure is None:
                cell = self._mailbox.popleft()
                key = _coalescing_key(cell[0])
                if key is not None:
                    self._latest.pop(key, None)
                for command in self.machine.handle(cell[0]):
                    self._perform(command)
        except Exception as problem:  # noqa: BLE001 - the loop's edge: whatever broke, stop loudly.
            self._fail(problem)
        finally:
            self._draining = False
        self._arm()

    def _fail(self, problem: BaseException) -> None:
        self.failure = problem
        self._disarm()
        _log.critical("loop.broken", reason=str(problem), exc_info=problem)
        self._on_failure(problem)

    def _arm(self) -> None:
        alarm_at = None if self.failure else self.machine.next_alarm_at
        if alarm_at == self._alarm_at:
            return
        self._disarm()
        if alarm_at is not None:
            self._alarm_at = alarm_at
            delay_s = min(max(0.0, alarm_at - self.now()), _LONGEST_NAP_S)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._alarm_at = None, None

    def _ring(self) -> None:
        is_due = self._alarm_at is not None and self._alarm_at <= self.now()
        self._timer, self._alarm_at = None, None
        if is_due:
            self.post(Tick(at=self.now()))
        else:
            self._arm()


def _coalescing_key(event: Event) -> _Key | None:
    """Facts that replace each other while they wait: only the newest one counts."""
    if isinstance(event, PoolBeat):
        return ("beat", event.pool_id, event.session_id)
    if isinstance(event, AttemptProgress):
        return ("progress", event.job_id, event.attempt)
    return None
