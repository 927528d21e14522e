"""Decides who speaks for the pool of this host now: its daemon, or this command.

pool.lock says it: the daemon holds it for life and a command for one act. Whoever holds it without
being reachable is waited for, but not for ever, and is named.
"""

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Final

from orchestrator_core.config.layout import POOL_MANAGERD
from orchestrator_core.console.endings import Pace
from orchestrator_core.contracts.control import RunFile
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from orchestrator_core.platforms import files
from orchestrator_core.platforms.names import program_of
from pool_ctl.pools.faults import unusable
from pool_ctl.settings import CliSettings

__all__ = ["Gate"]

_COMMAND: Final = "llorch-pool"
_TOLD_AFTER_S: Final = 2.0
# A command's act ends by itself, and a daemon without a run file is starting or ending; nobody can
# tell how long anyone else takes.
_PATIENCE_S: Final = {_COMMAND: 30.0, POOL_MANAGERD: 10.0}
_STRANGER_S: Final = 2.0
# Many commands at once are let through one after the other; each new holder is progress.
_LONGEST_S: Final = 180.0


@dataclass(frozen=True, slots=True)
class _Holder:
    pid: int | None
    program: str | None

    @property
    def patience_s(self) -> float:
        return _PATIENCE_S.get(self.program or "", _STRANGER_S)

    def describe(self) -> str:
        if self.pid is None:
            return "another process"
        return f"process {self.pid}" + (f" ({self.program})" if self.program else "")


class Gate:
    """Lets one act after the other through."""

    def __init__(self, settings: CliSettings, say: Callable[[str], None], pace: Pace) -> None:
        self._settings = settings
        self._say = say
        self._pace = pace

    def daemon(self) -> RunFile | None:
        """The daemon that can be asked now; without one we may look around ourselves."""
        return self._settings.run_file()

    @contextlib.contextmanager
    def act(self) -> Generator[RunFile | None]:
        """The daemon that carries an act out; None means that we do and hold the lock meanwhile."""
        taken = self._acquire()
        if isinstance(taken, RunFile):
            yield taken
            return
        try:
            yield None
        finally:
            taken.release()

    def _acquire(self) -> files.FileLock | RunFile:
        lock = files.FileLock(self._settings.layout.pool_lock)
        began_s = since_s = self._pace.monotonic_s()
        holder, told = _Holder(None, None), False
        while not self._take(lock):
            run = self.daemon()
            if run is not None:
                return run
            now_s = self._pace.monotonic_s()
            pid = lock.holder_pid()
            if pid != holder.pid:
                holder, since_s = _name(pid), now_s
            if now_s - since_s >= holder.patience_s or now_s - began_s >= _LONGEST_S:
                raise self._given_up(holder, now_s - since_s)
            is_worth_it = holder.patience_s > _TOLD_AFTER_S
            if is_worth_it and not told and now_s - began_s >= _TOLD_AFTER_S:
                told = True
                self._say(f"waiting for {holder.describe()} ...")
            self._pace.pause(self._pace.step_s)
        return lock

    def _take(self, lock: files.FileLock) -> bool:
        try:
            files.ensure_folder(self._settings.layout.pool_folder)
            return lock.try_acquire()
        except OSError as error:
            raise unusable(self._settings.layout, error) from error

    def _given_up(self, holder: _Holder, held_s: float) -> LlorchError:
        lock = self._settings.layout.pool_lock
        text = f"{holder.describe()} has held {lock} for {held_s:.0f} s and does not answer"
        return error_for(Refusal(Code.TIMEOUT, text))


def _name(pid: int | None) -> _Holder:
    return _Holder(pid, program_of(pid) if pid is not None else None)
