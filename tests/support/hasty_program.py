"""The real llorch-pool program in a time that runs 200 times as fast: rests of minutes are short.

Run as a module it takes the arguments of llorch-pool: python -m support.hasty_program models list.
Timeouts of sockets are the kernel's and stay as they are.
"""

import sys

from orchestrator_core.clock import SystemClock
from pool_ctl.main import main

__all__ = ["hasten"]

_TIMES = 200


def hasten() -> None:
    """Let every clock of this process that counts seconds run fast."""
    honest = SystemClock.monotonic_s
    SystemClock.monotonic_s = lambda self: honest(self) * _TIMES


if __name__ == "__main__":
    hasten()
    sys.exit(main())
