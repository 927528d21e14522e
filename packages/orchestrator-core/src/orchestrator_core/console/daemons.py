"""Starts, stops and finds one daemon of this installation, by process identity and run file.

A start is done when the run file of the new process is there and its health answers with the same
instance; everything here is bounded, so a command never hangs on a daemon.
"""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator_core.clients.http import HttpCaller
from orchestrator_core.clients.replies import Peer
from orchestrator_core.clients.trust import Trust
from orchestrator_core.config.layout import Layout
from orchestrator_core.console.endings import Ending, Pace, end_processes
from orchestrator_core.console.logs import last_lines
from orchestrator_core.console.programs import DaemonProgram
from orchestrator_core.contracts.control import Health, RunFile
from orchestrator_core.errors import Code, Exit, HostError, LlorchError, Refusal
from orchestrator_core.platforms import detached, files, runfiles
from orchestrator_core.platforms.names import program_of
from orchestrator_core.platforms.port import Platform, ProcessIdentity

__all__ = ["Daemons", "Running", "Stopped", "find_program"]

_ANSWER_TIMEOUT_S: Final = 2.0
_SHOWN_LINES: Final = 8


class _Instance(Health):
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A daemon that answers; fresh when this command started it."""

    run: RunFile
    fresh: bool


@dataclass(frozen=True, slots=True)
class Stopped:
    """What a stop did."""

    name: str
    ending: Ending
    pid: int | None = None


def find_program(name: str, interpreter: Path | None = None) -> Path:
    """Find a daemon's program beside our interpreter, then on PATH."""
    beside = (interpreter or Path(sys.executable)).parent / name
    if beside.is_file():
        return beside
    found = shutil.which(name)
    if found is None:
        text = (
            f"the program {name} is neither in {beside.parent} nor on PATH: install llorch-{name}"
        )
        raise HostError(Refusal(Code.INTERNAL, text))
    return Path(found)


@dataclass(frozen=True, slots=True)
class Daemons:
    """The daemons of one installation; env is what a started daemon gets."""

    layout: Layout
    platform: Platform
    env: Mapping[str, str]
    find: Callable[[str], Path] = find_program
    pace: Pace = field(default_factory=Pace)

    def running(self, program: DaemonProgram) -> RunFile | None:
        """The run file of a daemon whose process is alive."""
        return runfiles.read_live(self.layout.run_folder, program.name, self.platform)

    def start(
        self,
        program: DaemonProgram,
        *,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> Running:
        """Start a daemon and wait until it answers; one that runs already is left alone."""
        deadline_s = self.pace.monotonic_s() + timeout_s
        run = self.running(program)
        if run is not None:
            return Running(self._wait_for_answer(program, run, deadline_s), fresh=False)
        log = self.layout.log_file(program.name)
        log_start = log.stat().st_size if log.exists() else 0
        files.ensure_folder(self.layout.state)
        process = detached.start(
            [str(self.find(program.name)), *args],
            log_path=log,
            env={**self.env, **(env or {})},
            cwd=self.layout.state,
        )
        try:
            return self._wait_for_start(program, process, log_start, deadline_s)
        finally:
            detached.let_go(process)

    def stop(self, program: DaemonProgram, *, grace_s: float = 20.0) -> Stopped:
        """Stop a daemon: TERM, wait, KILL; its workers run on unless it stops them."""
        identity = self.identity(program)
        if identity is None:
            return Stopped(program.name, Ending.NOT_RUNNING)
        endings = end_processes(
            [identity],
            self.platform.signal_if_same,
            self.platform,
            grace_s=grace_s,
            pace=self.pace,
        )
        runfiles.remove(self.layout.run_folder, program.name, identity.pid)
        return Stopped(program.name, endings[0], identity.pid)

    def identity(self, program: DaemonProgram) -> ProcessIdentity | None:
        """The daemon's process by its run file, or by its lock while it has not written one."""
        run = self.running(program)
        if run is not None:
            return runfiles.identity_of(run)
        pid = files.FileLock(program.lock_of(self.layout)).holder_pid()
        # A command may hold the lock for a moment; it is not the daemon and must not be ended.
        if pid is None or program_of(pid) not in (program.name, None):
            return None
        return self.platform.identify(pid)

    def _wait_for_start(
        self,
        program: DaemonProgram,
        process: subprocess.Popen[bytes],
        log_start: int,
        deadline_s: float,
    ) -> Running:
        while True:
            run = self.running(program)
            if run is not None:
                fresh = process.pid in (run.pid, self.platform.session_of(run.pid))
                if not fresh:
                    # It lost the race and holds nothing yet; left alone, it could still come up
                    # after a stop of the winner.
                    process.kill()
                    process.wait()
                return Running(self._wait_for_answer(program, run, deadline_s), fresh=fresh)
            code = process.poll()
            # A start beside ours may have won the lock: then its run file is the one to wait for.
            if code is not None and self.identity(program) is None:
                raise self._died(program, code, log_start)
            if self.pace.monotonic_s() >= deadline_s:
                log = self.layout.log_file(program.name)
                text = f"{program.name} (pid {process.pid}) is not listening yet; its log is {log}"
                raise HostError(Refusal(Code.TIMEOUT, text))
            self.pace.pause(self.pace.step_s)

    def _wait_for_answer(self, program: DaemonProgram, run: RunFile, deadline_s: float) -> RunFile:
        peer = Peer(program.name, run.url, program.start_command)
        trust = Trust.in_run_file(run)
        with HttpCaller(peer, None, timeout_s=_ANSWER_TIMEOUT_S, trust=trust) as caller:
            while True:
                try:
                    answer = caller.call("GET", program.health_path, _Instance)
                    if answer.instance in (None, run.instance):
                        return run
                    reason = "another process answers at its address"
                except LlorchError as error:
                    reason = error.refusal.message
                alive = self.platform.is_alive(runfiles.identity_of(run))
                if not alive or self.pace.monotonic_s() >= deadline_s:
                    text = f"{program.name} (pid {run.pid}) runs but does not answer: {reason}"
                    text = text if alive else f"{program.name} (pid {run.pid}) has just ended"
                    raise HostError(Refusal(Code.UNREACHABLE, text))
                self.pace.pause(self.pace.step_s)

    def _died(self, program: DaemonProgram, code: int, log_start: int) -> LlorchError:
        log = self.layout.log_file(program.name)
        lines = last_lines(log, _SHOWN_LINES, start=log_start)
        if code == Exit.CONFIG and lines:
            return HostError(_own_words(lines[-1]))
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        text = f"{program.name} ended with {how}; its log is {log}"
        return HostError(Refusal(Code.INTERNAL, text, {"log_lines": lines}))


def _own_words(line: str) -> Refusal:
    """A daemon that cannot start as configured says why in one line, perhaps with its code."""
    text, _, code = line.rpartition(" (")
    code = code.removesuffix(")")
    return (
        Refusal(Code(code), text)
        if code in Code.__members__
        else Refusal(Code.CONFIG_INVALID, line)
    )
