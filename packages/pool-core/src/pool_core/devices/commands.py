"""Runs a short program of the host and takes its output, within a deadline and a size.

A driver may leave such a program in a state in which not even SIGKILL ends it, so nobody waits
for it for ever. Probes take the function as a parameter and tests give them recorded answers.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Final

__all__ = ["Ran", "Run", "run_command"]

_OUTPUT_MAX_BYTES: Final = 4 << 20
_LAST_WAIT_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program ended and what it wrote; the code of a killed one is negative."""

    code: int
    output: str
    errors: str = ""


Run = Callable[[Sequence[str], float], Ran | None]
"""Runs a command line within seconds; None when it did not start or did not end in time."""


def run_command(argv: Sequence[str], timeout_s: float) -> Ran | None:
    """Run a program of this host in a session of its own, so that its children end with it."""
    try:
        # Files instead of pipes: a grandchild that keeps a pipe open cannot make us wait.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
            try:
                code = process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                _end(process)
                return None
            return Ran(code, _content(output), _content(errors))
    except (OSError, ValueError):
        return None


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_LAST_WAIT_S)


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_OUTPUT_MAX_BYTES).decode("utf-8", "replace")
