"""The port every operating system adapter implements: who a process is, when it ends, who listens.

A pid alone names nobody, because pids are recycled. All acts therefore take a ProcessIdentity,
which also holds the start time and the boot, and do nothing when the process is another one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["ExitWatch", "Platform", "PortHolder", "ProcessIdentity"]


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process for all time: start_time is in the kernel's own unit and only compared."""

    pid: int
    start_time: int
    boot_id: str


@dataclass(frozen=True, slots=True)
class PortHolder:
    """Who listens on a TCP port; the pid of another user's process is hidden from us."""

    port: int
    pid: int | None = None
    name: str | None = None
    uid: int | None = None
    user: str | None = None

    def describe(self) -> str:
        """Name the holder for a person, as exactly as we are allowed to know."""
        if self.pid is not None:
            return f"process {self.pid} ({self.name})" if self.name else f"process {self.pid}"
        if self.uid is not None:
            return f"a process of user {self.user or '?'} (uid {self.uid})"
        return "an unknown process"


class ExitWatch(Protocol):
    """A running wait for the end of one process."""

    def close(self) -> None:
        """Stop waiting: the callback is not called any more."""
        ...


class Platform(Protocol):
    """What the suite asks of an operating system."""

    @property
    def system(self) -> str:
        """The name of the operating system: "linux" or "macos"."""
        ...

    def identify(self, pid: int) -> ProcessIdentity | None:
        """Name the process that has this pid now; None when it is gone or a zombie."""
        ...

    def is_alive(self, identity: ProcessIdentity) -> bool:
        """Tell whether this very process still runs."""
        ...

    def signal_if_same(self, identity: ProcessIdentity, signum: int) -> bool:
        """Signal this very process; False when it is gone or its pid is another's."""
        ...

    def signal_session(self, identity: ProcessIdentity, signum: int) -> bool:
        """Signal every process of the session that this very process leads."""
        ...

    def watch_exit(self, identity: ProcessIdentity, callback: Callable[[], None]) -> ExitWatch:
        """Call back once, on the running loop, when this very process has ended."""
        ...

    def port_holder(self, port: int, *, likely: int | None = None) -> PortHolder | None:
        """Find out who listens on a TCP port; None when nobody does.

        A likely holder is looked at first, since looking at every process takes a while.
        """
        ...

    def session_of(self, pid: int) -> int | None:
        """The session of a process, zombies included; None when there is no such process."""
        ...

    def environment(self, pid: int) -> Mapping[str, str]:
        """What a process was started with; empty when it is gone or hidden from us.

        For a moment after its start it is empty as well, while the kernel lays the program out.
        """
        ...

    def continuous_s(self) -> float:
        """Seconds of a clock that never goes back and goes on while the machine sleeps."""
        ...
