"""Carries each ask out by whoever speaks for the pool of this host now: its daemon, or we.

A daemon may start or end at any moment. What nobody took is tried again with whoever speaks for
the pool then; an order that broke off half-way is not, because it may have been carried out.
"""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final, TypeVar

from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.clients.trust import Trust
from orchestrator_core.console.endings import Pace
from orchestrator_core.console.endpoints import key_for
from orchestrator_core.contracts.control import Health, RunFile
from orchestrator_core.errors import Code, LlorchError
from pool_ctl.pools.faults import broke, broken_off, silent, was_refused
from pool_ctl.pools.gate import Gate
from pool_ctl.settings import CliSettings

__all__ = ["Turns"]

T = TypeVar("T")

_ANSWER_TIMEOUT_S: Final = 2.0


class Turns:
    """Chooses anew for each ask who carries it out."""

    def __init__(
        self, settings: CliSettings, say: Callable[[str], None], pace: Pace | None = None
    ) -> None:
        self._settings = settings
        self._pace = pace or Pace()
        self._gate = Gate(settings, say, self._pace)
        self._known: tuple[RunFile, PoolClient] | None = None
        self._answered_at: str | None = None

    @property
    def daemon_url(self) -> str | None:
        """Where the daemon listens that took the last ask; None when it was ours."""
        return self._answered_at

    def act(
        self,
        by_daemon: Callable[[PoolClient], T],
        by_us: Callable[[], T],
        *,
        order: str | None = None,
    ) -> T:
        """Carry an act out, holding the lock if it is ours; an order names what it changes."""
        return self._carry_out(self._gate.act, by_daemon, by_us, order)

    def look(
        self,
        by_daemon: Callable[[PoolClient], T],
        by_us: Callable[[], T],
        *,
        order: str | None = None,
    ) -> T:
        """Do what needs no lock, be it that it only looks or that it has locks of its own."""

        def enter() -> AbstractContextManager[RunFile | None]:
            return contextlib.nullcontext(self._gate.daemon())

        return self._carry_out(enter, by_daemon, by_us, order)

    def close(self) -> None:
        """Close the connection to the daemon."""
        if self._known is not None:
            self._known[1].close()
            self._known = None

    def _carry_out(
        self,
        enter: Callable[[], AbstractContextManager[RunFile | None]],
        by_daemon: Callable[[PoolClient], T],
        by_us: Callable[[], T],
        order: str | None,
    ) -> T:
        deadline_s: float | None = None
        while True:
            with enter() as run:
                self._answered_at = run.url if run else None
                if run is None:
                    return by_us()
                try:
                    return self._ask_daemon(run, by_daemon, order)
                except _GoneError as gone:
                    now_s = self._pace.monotonic_s()
                    deadline_s = now_s + _ANSWER_TIMEOUT_S if deadline_s is None else deadline_s
                    if now_s >= deadline_s:
                        raise gone.shown from gone
            self._pace.pause(self._pace.step_s)

    def _ask_daemon(
        self, run: RunFile, by_daemon: Callable[[PoolClient], T], order: str | None
    ) -> T:
        client = self._client(run)
        try:
            # A daemon that hangs must not make every command hang.
            client.call("GET", "/health", Health, timeout_s=_ANSWER_TIMEOUT_S)
        except LlorchError as error:
            shown = silent(run, error)
            raise (_GoneError(shown) if error.code is Code.UNREACHABLE else shown) from error
        try:
            return by_daemon(client)
        except LlorchError as error:
            if not broke(error):
                raise
            if was_refused(error) or (order is None and error.code is Code.UNREACHABLE):
                raise _GoneError(silent(run, error)) from error
            raise (
                silent(run, error) if order is None else broken_off(run, error, order)
            ) from error

    def _client(self, run: RunFile) -> PoolClient:
        if self._known is None or self._known[0] != run:
            self.close()
            layout = self._settings.layout
            trust = Trust.in_run_file(run)
            key = key_for(run.url, env=self._settings.env, key_file=layout.pool_key, trust=trust)
            self._known = (run, PoolClient(run.url, key, trust=trust))
        return self._known[1]


class _GoneError(Exception):
    """The daemon is not there any more and has done nothing: somebody else speaks for the pool."""

    def __init__(self, shown: LlorchError) -> None:
        super().__init__(str(shown))
        self.shown = shown
