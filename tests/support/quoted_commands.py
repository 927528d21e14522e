"""Runs the command lines that a text quotes, as they stand there, by a shell that finds our programs."""

import subprocess
import sys
from pathlib import Path

from support.home import Finished, Home

__all__ = ["typed", "unbroken"]

_TIMEOUT_S = 120.0


def typed(home: Home, line: str, *, cwd: Path | None = None) -> Finished:
    """Type one line, or a short script, at the machine of this installation."""
    path = f"{Path(sys.executable).parent}:{home.env['PATH']}"
    done = subprocess.run(
        ["sh", "-c", line],
        env={**home.env, "PATH": path},
        cwd=cwd or home.folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    return Finished((line,), done.returncode, done.stdout, done.stderr)


def unbroken(home: Home, *lines: str) -> None:
    """Type lines that must all end well."""
    for line in lines:
        typed(home, line).must()
