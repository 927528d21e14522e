"""Finds who listens on a TCP port of macOS by the system's own programs, lsof and netstat.

Without root, lsof is silent about other users' sockets; netstat still tells that there is one.
"""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code, HostError, Refusal

__all__ = ["Listener", "Run", "is_listening", "listener", "run_program"]

Run = Callable[[Sequence[str]], str]

_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Listener:
    """A process with a listening socket."""

    pid: int
    command: str
    uid: int | None


def run_program(argv: Sequence[str]) -> str:
    """Run one of the system's programs and return what it says, whatever its exit code."""
    try:
        # lsof ends with 1 when it finds nothing, which is an answer.
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"cannot ask {argv[0]} who listens: {error}"
        raise HostError(Refusal(Code.INTERNAL, reason)) from error
    return done.stdout.decode("utf-8", "replace")


def listener(port: int, run: Run) -> Listener | None:
    """The first process that listens on a port, as far as we may see it."""
    said = run(["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpcu"])
    fields: dict[str, str] = {}
    for line in said.splitlines():
        # One field a line, named by its first letter; the next process begins with its pid.
        if line[:1] == "p" and fields:
            break
        if line[:1] in {"p", "c", "u"}:
            fields[line[0]] = line[1:]
    if not fields.get("p", "").isdecimal():
        return None
    uid = fields.get("u", "")
    return Listener(int(fields["p"]), fields.get("c", ""), int(uid) if uid.isdecimal() else None)


def is_listening(port: int, run: Run) -> bool:
    """Tell whether anybody listens on a port, other users' processes included."""
    for line in run(["netstat", "-an", "-p", "tcp"]).splitlines():
        columns = line.split()
        # The local address reads "127.0.0.1.8080", "*.8080" or "::1.8080".
        if len(columns) > 5 and columns[5] == "LISTEN" and columns[3].endswith(f".{port}"):
            return True
    return False
