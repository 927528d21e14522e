"""A program of its own: runs another one that may not outlive whoever wanted it.

Our stdin is the leash. Its other end closes when the one who holds it ends, also by a kill, and
then the whole group ends: a transfer that nobody waits for must not go on with somebody's token.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence

__all__ = ["leashed_argv", "run"]


def leashed_argv(argv: Sequence[str]) -> list[str]:
    """The command line that runs this one on a leash."""
    # Without -P Python would look for modules in the folder that it runs in.
    return [sys.executable, "-P", "-m", __name__, *argv]


def run(argv: Sequence[str]) -> int:
    """Run a program to its end and tell its exit code."""
    if os.getpgid(0) != os.getpid():
        # What ends with the leash is our own group, and never that of whoever started us.
        os.setpgid(0, 0)
    try:
        child = subprocess.Popen(list(argv), stdin=subprocess.DEVNULL)
    except OSError as error:
        sys.stderr.write(f"Error: {argv[0]} cannot be started: {error.strerror}\n")
        return 127
    threading.Thread(target=_end_with_owner, daemon=True).start()
    code = child.wait()
    return code if code >= 0 else 128 - code


def _end_with_owner() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
