"""Starts programs that outlive us: own session, nothing on stdin, output appended to a file."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from orchestrator_core.platforms import files

__all__ = ["end", "let_go", "offer_first", "start"]

_FIRST_TO_GO: Final = 300


def start(
    argv: Sequence[str],
    *,
    log_path: Path,
    env: Mapping[str, str],
    cwd: Path | None = None,
    leashed: bool = False,
) -> subprocess.Popen[bytes]:
    """Start a program in its own session with exactly this environment.

    A leashed one hears the end of its stdin when we end, however we end. A long-lived parent keeps the result and calls poll() when the exit watch fires, which reaps the
    child and tells its exit code; a parent that ends first calls let_go().
    """
    files.ensure_folder(log_path.parent)
    # Appending keeps two writers apart and survives a truncation of the file by a person.
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if leashed else subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(env),
            cwd=cwd,
            close_fds=True,
            start_new_session=True,
        )
    finally:
        os.close(log)


def offer_first(process: subprocess.Popen[bytes]) -> None:
    """Have the kernel end this process before others when the memory of the host runs out.

    A child would inherit the protection of a daemon that its service manager wants to keep.
    """
    # Only Linux can be told, and without it the memory is shared out as ever.
    with contextlib.suppress(OSError):
        Path(f"/proc/{process.pid}/oom_score_adj").write_text(f"{_FIRST_TO_GO}\n", "ascii")


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a child of ours with its whole group; its pid stays its own until we reap it."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.stdin is not None:
        process.stdin.close()


def let_go(process: subprocess.Popen[bytes]) -> None:
    """Say that this process will end before its child and never waits for it."""
    # A Popen without a return code complains when it is dropped; init reaps this child instead.
    if process.poll() is None:
        process.returncode = 0
