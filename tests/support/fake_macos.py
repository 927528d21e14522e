"""macOS as seen by its adapter, played by the real processes and sockets of this Linux machine.

Each fake answers in the shape and with the errors of the real call: sysctl with a kinfo_proc of 648
bytes, kqueue with a pollable descriptor and ESRCH for zombies, getsid blind to zombies, lsof and
netstat with their own columns.
"""

import errno
import os
import select
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator_core.platforms.linux import LinuxPlatform
from orchestrator_core.platforms.macos import MacFacts

__all__ = [
    "BOOT",
    "FakeKqueues",
    "FakeSysctl",
    "Kevent",
    "kinfo_proc",
    "lsof_text",
    "mac_facts",
    "netstat_text",
]

BOOT = "5B0C8E0A-3C1F-4C43-9C5B-6B4C4E0D9A10"

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_BEGAN_S = 1_700_000_000
_RUNNING, _ZOMBIE = 2, 5


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text[text.rfind(")") + 1 :].split()


def _is_zombie(pid: int) -> bool:
    stat = _stat(pid)
    return stat is not None and stat[0] in "ZX"


def kinfo_proc(pid: int, *, start_us: int, state: int = _RUNNING, group: int = 0) -> bytes:
    """A struct kinfo_proc of 64-bit macOS with the fields that we read, all else being noise."""
    record = bytearray(b"\xee" * 648)
    struct.pack_into("<qi", record, 0, *divmod(start_us, 1_000_000))
    struct.pack_into("<b", record, 36, state)
    struct.pack_into("<i", record, 40, pid)
    struct.pack_into("<i", record, 564, group)
    return bytes(record)


class FakeSysctl:
    """The kernel's records, made from /proc."""

    def by_number(self, name: Sequence[int]) -> bytes:
        """The record of a process; empty when there is none, as on macOS."""
        assert tuple(name[:3]) == (1, 14, 1), "only kern.proc.pid is asked for"
        stat = _stat(name[3])
        if stat is None:
            return b""
        start_us = _BEGAN_S * 1_000_000 + int(stat[19]) * 1_000_000 // _TICKS_PER_S
        state = _ZOMBIE if stat[0] in "ZX" else _RUNNING
        return kinfo_proc(name[3], start_us=start_us, state=state, group=int(stat[2]))

    def by_name(self, name: str) -> bytes:
        """The id of this boot."""
        assert name == "kern.bootsessionuuid"
        return BOOT.encode("ascii") + b"\0"


@dataclass(frozen=True, slots=True)
class Kevent:
    """One question."""

    ident: int
    filter: int
    flags: int
    fflags: int


class _Queue:
    def __init__(self) -> None:
        self._poll = select.epoll()
        self._pidfds: list[int] = []
        self.closed = False

    def fileno(self) -> int:
        return self._poll.fileno()

    def control(self, changes: Iterable[Kevent], max_events: int) -> list[Kevent]:
        assert max_events == 0, "the adapter asks and never collects"
        for change in changes:
            assert (change.filter, change.flags, change.fflags) == (-5, 0x11, 0x80000000)
            if _is_zombie(change.ident):
                raise ProcessLookupError(errno.ESRCH, "No such process")
            fd = os.pidfd_open(change.ident)
            self._pidfds.append(fd)
            self._poll.register(fd, select.EPOLLIN)
        return []

    def close(self) -> None:
        self.closed = True
        self._poll.close()
        for fd in self._pidfds:
            os.close(fd)
        self._pidfds.clear()


class FakeKqueues:
    """The BSD part of the module select, with macOS's own numbers."""

    KQ_FILTER_PROC = -5
    KQ_NOTE_EXIT = 0x80000000
    KQ_EV_ADD = 0x1
    KQ_EV_ONESHOT = 0x10

    def __init__(self) -> None:
        self.queues: list[_Queue] = []

    def kqueue(self) -> _Queue:
        """Open a queue."""
        self.queues.append(_Queue())
        return self.queues[-1]

    def kevent(self, ident: int, filter: int, flags: int, fflags: int) -> Kevent:  # noqa: A002
        """Word a question."""
        return Kevent(ident, filter, flags, fflags)


def _getsid(pid: int) -> int:
    if _is_zombie(pid):
        raise ProcessLookupError(errno.ESRCH, "No such process")
    return os.getsid(pid)


def lsof_text(port: int, pid: int, command: str, uid: int) -> str:
    """What `lsof -Fpcu` prints of one listener: one field a line, the descriptor last."""
    assert port > 0
    return f"p{pid}\nc{command}\nu{uid}\nf3\n"


def netstat_text(port: int) -> str:
    """What `netstat -an -p tcp` prints, with one listener among other lines."""
    return (
        "Active Internet connections (including servers)\n"
        "Proto Recv-Q Send-Q  Local Address          Foreign Address        (state)\n"
        f"tcp4       0      0  127.0.0.1.{port}      127.0.0.1.51234        ESTABLISHED\n"
        f"tcp4       0      0  127.0.0.1.{port}      *.*                    LISTEN\n"
        "tcp46      0      0  *.22                   *.*                    LISTEN\n"
    )


def _run(argv: Sequence[str]) -> str:
    if argv[0] == "netstat":
        assert list(argv[1:]) == ["-an", "-p", "tcp"]
        return netstat_text(1)
    assert argv[0] == "lsof"
    assert list(argv[1:2]) == ["-nP"]
    assert list(argv[3:]) == ["-sTCP:LISTEN", "-Fpcu"]
    port = int(argv[2].removeprefix("-iTCP:"))
    holder = LinuxPlatform().port_holder(port)
    if holder is None or holder.pid is None:
        return ""
    comm = Path(f"/proc/{holder.pid}/comm").read_text().strip()
    return lsof_text(port, holder.pid, comm, os.getuid())


def mac_facts(**changes: object) -> MacFacts:
    """A Mac on which this machine's processes run."""
    facts: dict[str, object] = {
        "sysctl": FakeSysctl(),
        "kqueues": FakeKqueues(),
        "run": _run,
        "getsid": _getsid,
        # As on macOS, the list begins with the kernel itself.
        "pids": lambda: [
            0,
            *(int(it.name) for it in Path("/proc").iterdir() if it.name.isdecimal()),
        ],
    }
    return MacFacts(**{**facts, **changes})  # type: ignore[arg-type]
