"""The macOS adapter: identities by sysctl, exits by kqueue, ports by lsof.

macOS has no handle of a process like a pidfd. Every act therefore compares the identity at the
last possible moment, and what remains is said where it remains.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import psutil

from orchestrator_core.errors import Code, HostError, Refusal
from orchestrator_core.platforms.kqueue import Kqueues, exit_queue, system_kqueues
from orchestrator_core.platforms.lsof import Run, is_listening, listener, run_program
from orchestrator_core.platforms.names import program_name, user_name
from orchestrator_core.platforms.port import ExitWatch, PortHolder, ProcessIdentity
from orchestrator_core.platforms.sessions import signal_members
from orchestrator_core.platforms.sysctl import (
    KernelProcess,
    Libc,
    Sysctl,
    boot_session,
    kernel_process,
)
from orchestrator_core.platforms.watches import DescriptorWatch, GoneWatch

__all__ = ["MacFacts", "MacPlatform"]


def _clock_s() -> float:
    # On macOS this clock counts sleep, while Python's own monotonic clock stands still meanwhile.
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)


def _environ(pid: int) -> Mapping[str, str]:
    return psutil.Process(pid).environ()


def _command_line(pid: int) -> Sequence[str]:
    return psutil.Process(pid).cmdline()


@dataclass(frozen=True, slots=True)
class MacFacts:
    """Everything that the adapter asks of macOS."""

    sysctl: Sysctl = field(default_factory=Libc)
    kqueues: Kqueues = field(default_factory=system_kqueues)
    run: Run = run_program
    kill: Callable[[int, int], None] = os.kill
    getsid: Callable[[int], int] = os.getsid
    pids: Callable[[], Sequence[int]] = psutil.pids
    environ: Callable[[int], Mapping[str, str]] = _environ
    command_line: Callable[[int], Sequence[str]] = _command_line
    clock_s: Callable[[], float] = _clock_s


class MacPlatform:
    """One Mac."""

    def __init__(self, facts: MacFacts | None = None) -> None:
        self._facts = facts or MacFacts()

    @property
    def system(self) -> str:
        """The name by which people know it."""
        return "macos"

    def identify(self, pid: int) -> ProcessIdentity | None:
        """Name the process that has this pid now; None when it is gone or a zombie.

        The start time is the kernel's own record, in microseconds: written once at the fork and
        never again. psutil's create_time() is that record too, but moved by as much as the clock
        of the machine was set since psutil was loaded, so a daemon would lose its workers to a
        correction of the time. It is wall-clock time: two processes may bear the same one if the
        clock was set back between them, and only with the same pid would they be confused.
        """
        process = self._process(pid)
        if process is None or process.is_zombie:
            return None
        return ProcessIdentity(pid, process.start_us, self._boot_id)

    def is_alive(self, identity: ProcessIdentity) -> bool:
        """Tell whether this very process still runs."""
        return self.identify(identity.pid) == identity

    def signal_if_same(self, identity: ProcessIdentity, signum: int) -> bool:
        """Signal this very process; False when it is gone or its pid is another's.

        Between the look and the signal the process may end and its pid be given away. A child that
        we have not reaped keeps its pid, so this concerns adopted workers only; pids are handed out
        in turn, so that within these microseconds all the others would have to be used up.
        """
        return self.is_alive(identity) and self._send(identity.pid, signum)

    def signal_session(self, identity: ProcessIdentity, signum: int) -> bool:
        """Signal every process of the session that this very process leads.

        A leader that is a zombie still owns its session, so its left-over children are reached.
        """
        leader = self._process(identity.pid)
        if (
            leader is None
            or leader.start_us != identity.start_time
            or identity.boot_id != self._boot_id
            or not (leader.is_zombie or self.session_of(identity.pid) == identity.pid)
        ):
            return False
        return signal_members(
            lambda: [pid for pid in self._facts.pids() if self.session_of(pid) == identity.pid],
            lambda pid: self._signal_member(pid, identity.pid, signum),
        )

    def watch_exit(self, identity: ProcessIdentity, callback: Callable[[], None]) -> ExitWatch:
        """Call back once, on the running loop, when this very process has ended."""
        queue = exit_queue(self._facts.kqueues, identity.pid)
        if queue is None:
            return GoneWatch(callback)
        alive = False
        try:
            alive = self.is_alive(identity)
        finally:
            if not alive:
                queue.close()
        if not alive:
            return GoneWatch(callback)
        # The note comes while the process is on its way out and cannot be reaped yet.
        return DescriptorWatch(
            queue.fileno(),
            callback,
            release=queue.close,
            is_over=lambda: not self.is_alive(identity),
        )

    def port_holder(self, port: int, *, likely: int | None = None) -> PortHolder | None:
        """Find out who listens on a TCP port; None when nobody does."""
        # lsof looks for the port itself, so a likely holder saves it nothing.
        del likely
        found = listener(port, self._facts.run)
        if found is None:
            return PortHolder(port) if is_listening(port, self._facts.run) else None
        try:
            words = self._facts.command_line(found.pid)
        except (psutil.Error, OSError):
            words = ()
        name = program_name(words, found.command) or None
        user = user_name(found.uid) if found.uid is not None else None
        return PortHolder(port, found.pid, name, found.uid, user)

    def session_of(self, pid: int) -> int | None:
        """The session of a process, zombies included; None when there is no such process."""
        if pid <= 0:
            # To the kernel, 0 means the one who asks.
            return None
        try:
            return self._facts.getsid(pid)
        except ProcessLookupError:
            # getsid passes over zombies. One that led a session had its own group as well, which
            # is all that can be told of it.
            process = self._process(pid)
            return process.group or None if process is not None else None
        except PermissionError:
            return None

    def environment(self, pid: int) -> Mapping[str, str]:
        """What a process was started with; empty when it is gone or hidden from us."""
        if pid <= 0:
            return {}
        try:
            return self._facts.environ(pid)
        except (psutil.Error, OSError):
            return {}

    def continuous_s(self) -> float:
        """Seconds of the clock that goes on while the Mac sleeps."""
        return self._facts.clock_s()

    @cached_property
    def _boot_id(self) -> str:
        return boot_session(self._facts.sysctl)

    def _process(self, pid: int) -> KernelProcess | None:
        return kernel_process(self._facts.sysctl, pid) if pid > 0 else None

    def _signal_member(self, pid: int, session: int, signum: int) -> bool:
        if self.identify(pid) is None or self.session_of(pid) != session:
            return False
        return self._send(pid, signum)

    def _send(self, pid: int, signum: int) -> bool:
        try:
            self._facts.kill(pid, signum)
        except ProcessLookupError:
            return False
        except PermissionError as error:
            reason = f"process {pid} belongs to another user: no right to signal it"
            raise HostError(Refusal(Code.INTERNAL, reason)) from error
        return True
