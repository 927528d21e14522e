"""Names programs and users as people know them."""

import pwd
from collections.abc import Sequence
from pathlib import PurePath

import psutil

__all__ = ["program_name", "program_of", "user_name"]


def program_name(words: Sequence[str], fallback: str) -> str:
    """The name of the program of a command line, or of the script that an interpreter runs."""
    name = PurePath(words[0]).name if words else ""
    # A console script runs as "python .../orchestratord": the script is the name people know.
    if name.lower().startswith("python") and len(words) > 1 and not words[1].startswith("-"):
        name = PurePath(words[1]).name
    return name or fallback


def program_of(pid: int) -> str | None:
    """The program that a process runs, as people know it; None when it cannot be told."""
    try:
        words = psutil.Process(pid).cmdline()
    except (psutil.Error, OSError):
        return None
    return program_name(words, "") or None


def user_name(uid: int) -> str | None:
    """The login name of a user; None when this machine does not know it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
