"""What is run at a host, and the one constant command line that runs it in any shell."""

from typing import Final

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.stream.remote_frames import RemoteCall

__all__ = ["DEFAULT_COMMAND", "RemoteCall", "remote_command"]

DEFAULT_COMMAND: Final = 'exec "$HOME/.local/share/llorch/current/bin/llorch-pool" remote-exec'
"""For hosts without an entry: where `llorch host add` installs."""

# Inside single quotes fish knows a backslash, and shells with history a "!".
_SPECIAL: Final = frozenset("'\\!")


def remote_command(program: str) -> str | Refusal:
    """The command line that starts this absolute program alike in sh, bash, zsh and fish."""
    if not program.startswith("/"):
        line = f"{program!a} is no absolute path of llorch-pool at the host"
        return Refusal(Code.INVALID_REQUEST, line)
    if not program.isprintable() or _SPECIAL.intersection(program):
        line = f"the path {program!a} means different things in different shells: move it"
        return Refusal(Code.INVALID_REQUEST, line)
    return f"exec '{program}' remote-exec"
