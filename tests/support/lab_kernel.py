"""What a lab of hosts asks of the kernel: namespaces, what runs in them, what listens in them.

The first process of a host reads a pipe of this process and ends with it, and all else with it.
"""

import contextlib
import ctypes
import ipaddress
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

__all__ = [
    "HOST_PYTHON",
    "SSHD",
    "Listener",
    "children",
    "do",
    "enter_network",
    "family",
    "hold",
    "inside",
    "inside_mounts",
    "is_alive",
    "listeners",
    "missing_for_a_lab",
    "namespace",
    "runs",
    "signal_if_there",
]

SSHD: Final = Path("/usr/sbin/sshd")
HOST_PYTHON: Final = Path("/usr/bin/python3")
"""What a host finds before anybody enrols it."""
_CLONE_NEWNET: Final = 0x40000000
# The first process of a host: it collects orphans, and its end is the end of the host.
_FIRST_PROCESS: Final = """
import os, signal, sys
def collect(*_):
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
signal.signal(signal.SIGCHLD, collect)
print("ready", flush=True)
sys.stdin.read()
"""


def missing_for_a_lab() -> str | None:
    """Why no lab can be built here; None where one can."""
    if sys.platform != "linux":
        return "network namespaces are a thing of Linux"
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    missing = [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]
    if not HOST_PYTHON.exists():
        missing.append("a system's own python3 (apt install python3-venv)")
    if not SSHD.exists():
        missing.append("sshd (apt install openssh-server)")
    if missing:
        return f"missing programs: {', '.join(missing)}"
    # Root of a container may be root in name only.
    attempt = ["unshare", "--net", "--pid", "--fork", "--mount", "true"]
    may = subprocess.run(attempt, capture_output=True, check=False).returncode == 0
    return None if may else "this root may not make network namespaces"


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket of a host that listens for connections."""

    address: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """True when only the host itself reaches it."""
        return self.address.startswith("127.") or self.address == "::1"


def hold(
    cleaning: contextlib.ExitStack, name: str = "switch"
) -> tuple[subprocess.Popen[bytes], int]:
    """Start the first process of a new host; it ends with this process."""
    holder = subprocess.Popen(
        ["unshare", "--net", "--pid", "--fork", "--kill-child=SIGKILL", "--mount", "--mount-proc",
         "--uts", "sh", "-c", f'hostname {name}; exec "$0" -S -c "$1"', sys.executable,
         _FIRST_PROCESS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    cleaning.callback(_let_go, holder)
    if holder.stdout is None or holder.stdout.readline() != b"ready\n":
        raise RuntimeError(f"the host {name} could not be made")
    (pid,) = children(holder.pid)
    return holder, pid


def _let_go(holder: subprocess.Popen[bytes]) -> None:
    for child in children(holder.pid):
        signal_if_there(child, signal.SIGKILL)
    for pipe in (holder.stdin, holder.stdout):
        if pipe is not None:
            pipe.close()
    holder.wait(timeout=10)


def inside(pid: int, *argv: str) -> None:
    """Run a command in the network of a host."""
    do("nsenter", "-t", str(pid), "-n", "--", *argv)


def inside_mounts(pid: int, *argv: str) -> None:
    """Run a command in the file system of a host."""
    do("nsenter", "-t", str(pid), "-m", "--", *argv)


def enter_network(pid: int) -> None:
    """Move the calling thread into the network of a host; its sockets belong there from now on."""
    with Path(f"/proc/{pid}/ns/net").open("rb") as network:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(network.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def do(*argv: str) -> None:
    """Run a command that has to work."""
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip()}")


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    except OSError:
        return []
    return [int(word) for word in text.split()]


def family(pid: int) -> Iterable[int]:
    """A process with all that came of it, the youngest first."""
    for child in children(pid):
        yield from family(child)
    yield pid


def namespace(pid: int) -> str | None:
    """Which host a process runs on."""
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return None


def runs(process: psutil.Process, program: str) -> bool:
    """Tell whether a process is one of this program."""
    with contextlib.suppress(psutil.Error):
        return any(Path(word).name == program for word in process.cmdline()[:2])
    return False


def is_alive(process: psutil.Process) -> bool:
    """Tell whether a process still runs."""
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def signal_if_there(pid: int, signum: signal.Signals) -> None:
    """Signal a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signum)


def listeners(table: Path) -> Iterator[Listener]:
    """Read the listening sockets out of a table of the kernel."""
    for line in table.read_text("ascii").splitlines()[1:]:
        words = line.split()
        if words[3] == "0A":
            address, _, port = words[1].partition(":")
            yield Listener(_address(address), int(port, 16))


def _address(text: str) -> str:
    """Read an address of the kernel's tables: each 32-bit word is in the machine's byte order."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    packed = b"".join(words)
    if len(packed) == 4:
        return str(ipaddress.IPv4Address(packed))
    return str(ipaddress.IPv6Address(packed))
