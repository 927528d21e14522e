"""The Linux adapter: identities from /proc, exits and signals by pidfd (kernel 5.3 or newer).

A pidfd is always opened first and the identity compared afterwards: from then on the descriptor
cannot mean another process, whatever happens to the pid.
"""

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from orchestrator_core.platforms.names import program_name, user_name
from orchestrator_core.platforms.pidfd import open_pidfd, pidfd, send
from orchestrator_core.platforms.port import ExitWatch, PortHolder, ProcessIdentity
from orchestrator_core.platforms.sessions import signal_members
from orchestrator_core.platforms.watches import DescriptorWatch, GoneWatch

__all__ = ["LinuxPlatform"]

_ENDED_STATES: Final = frozenset("ZXx")
_LISTENING: Final = "0A"


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    session: int
    start_time: int


@dataclass(frozen=True, slots=True)
class _Listener:
    inode: str
    uid: int


class LinuxPlatform:
    """Reads one machine's /proc; a test may point it at another folder."""

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = proc

    @property
    def system(self) -> str:
        """Linux."""
        return "linux"

    def identify(self, pid: int) -> ProcessIdentity | None:
        """Name the process that has this pid now; None when it is gone or a zombie."""
        stat = self._stat(pid)
        if stat is None or stat.state in _ENDED_STATES:
            return None
        return ProcessIdentity(pid, stat.start_time, self._boot_id)

    def is_alive(self, identity: ProcessIdentity) -> bool:
        """Tell whether this very process still runs."""
        return self.identify(identity.pid) == identity

    def signal_if_same(self, identity: ProcessIdentity, signum: int) -> bool:
        """Signal this very process; False when it is gone or its pid is another's."""
        with pidfd(identity.pid) as fd:
            if fd is None or not self.is_alive(identity):
                return False
            return send(fd, signum, identity.pid)

    def signal_session(self, identity: ProcessIdentity, signum: int) -> bool:
        """Signal every process of the session that this very process leads.

        A leader that is a zombie still owns its session, so its left-over children are reached.
        """
        leader = self._stat(identity.pid)
        if (
            leader is None
            or leader.start_time != identity.start_time
            or leader.session != identity.pid
            or identity.boot_id != self._boot_id
        ):
            return False
        return signal_members(
            lambda: [pid for pid in self._pids() if self.session_of(pid) == identity.pid],
            lambda pid: self._signal_member(pid, identity.pid, signum),
        )

    def watch_exit(self, identity: ProcessIdentity, callback: Callable[[], None]) -> ExitWatch:
        """Call back once, on the running loop, when this very process has ended."""
        fd = open_pidfd(identity.pid)
        if fd is None:
            return GoneWatch(callback)
        alive = False
        try:
            alive = self.is_alive(identity)
        finally:
            if not alive:
                os.close(fd)
        if not alive:
            return GoneWatch(callback)
        return DescriptorWatch(fd, callback, release=lambda: os.close(fd))

    def port_holder(self, port: int, *, likely: int | None = None) -> PortHolder | None:
        """Find out who listens on a TCP port; None when nobody does."""
        listeners = list(self._listeners(port))
        if not listeners:
            return None
        pid = self._owner_of({f"socket:[{listener.inode}]" for listener in listeners}, likely)
        uid = listeners[0].uid
        name = self._program_name(pid) if pid is not None else None
        return PortHolder(port, pid, name, uid, user_name(uid))

    def session_of(self, pid: int) -> int | None:
        """The session of a process, zombies included; None when there is no such process."""
        stat = self._stat(pid)
        return stat.session if stat else None

    def environment(self, pid: int) -> Mapping[str, str]:
        """What a process was started with; empty when it is gone or another user's."""
        try:
            raw = (self._proc / str(pid) / "environ").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return {}
        pairs = (os.fsdecode(entry).partition("=") for entry in raw.split(b"\0"))
        return {name: value for name, equals, value in pairs if name and equals}

    def continuous_s(self) -> float:
        """Seconds of CLOCK_BOOTTIME, which counts suspend as well."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    @cached_property
    def _boot_id(self) -> str:
        return (self._proc / "sys/kernel/random/boot_id").read_text("ascii").strip()

    def _stat(self, pid: int) -> _Stat | None:
        try:
            text = (self._proc / str(pid) / "stat").read_text("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            # A /proc mounted with hidepid hides other users' processes, and those are never ours.
            return None
        # The program's name in field 2 may itself hold spaces and parentheses, so count from the
        # last one: state is field 3, the session field 6, the start time field 22.
        fields = text[text.rfind(")") + 1 :].split()
        return _Stat(fields[0], int(fields[3]), int(fields[19]))

    def _pids(self) -> list[int]:
        return [int(entry.name) for entry in self._proc.iterdir() if entry.name.isdecimal()]

    def _signal_member(self, pid: int, session: int, signum: int) -> bool:
        with pidfd(pid) as fd:
            stat = self._stat(pid)
            if fd is None or stat is None or stat.session != session:
                return False
            return stat.state not in _ENDED_STATES and send(fd, signum, pid)

    def _listeners(self, port: int) -> Iterator[_Listener]:
        suffix = f":{port:04X}"
        for table in ("net/tcp", "net/tcp6"):
            try:
                lines = (self._proc / table).read_text("ascii").splitlines()[1:]
            except FileNotFoundError:
                continue
            for line in lines:
                columns = line.split()
                if columns[1].endswith(suffix) and columns[3] == _LISTENING:
                    yield _Listener(inode=columns[9], uid=int(columns[7]))

    def _owner_of(self, sockets: set[str], likely: int | None) -> int | None:
        first = [] if likely is None else [likely]
        for pid in itertools.chain(first, self._pids()):
            # Processes end while we look, and other users' descriptors are hidden from us.
            with contextlib.suppress(OSError):
                for entry in (self._proc / str(pid) / "fd").iterdir():
                    with contextlib.suppress(OSError):
                        if str(entry.readlink()) in sockets:
                            return pid
        return None

    def _program_name(self, pid: int) -> str | None:
        try:
            raw = (self._proc / str(pid) / "cmdline").read_bytes()
            comm = (self._proc / str(pid) / "comm").read_text("utf-8", "replace").strip()
        except OSError:
            return None
        words = [os.fsdecode(word) for word in raw.split(b"\0") if word]
        return program_name(words, comm)
