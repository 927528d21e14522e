"""Tells systemd how a daemon fares: ready, status, alive, stopping (the protocol of sd_notify).

Where nobody listens, as in a terminal or under launchd, every call does nothing and says so. No
failure here may disturb the daemon, so none is raised.
"""

import asyncio
import math
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

__all__ = ["Notifier", "keep_alive", "watchdog_interval_s"]

_SEND_TIMEOUT_S: Final = 0.5
_MICROS_PER_S: Final = 1_000_000


def watchdog_interval_s(env: Mapping[str, str], pid: int) -> float | None:
    """How often a sign of life is due: half of what systemd waits; None when it waits for none."""
    micros = env.get("WATCHDOG_USEC", "")
    meant_for = env.get("WATCHDOG_PID") or str(pid)
    if not (micros.isascii() and micros.isdecimal()) or int(micros) == 0 or meant_for != str(pid):
        return None
    return int(micros) / _MICROS_PER_S / 2


class Notifier:
    """One process's line to the service manager that started it."""

    def __init__(self, address: str | None) -> None:
        self._address = address or None

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Notifier":
        """The line that NOTIFY_SOCKET names, if any."""
        return cls(env.get("NOTIFY_SOCKET"))

    def ready(self, status: str = "") -> bool:
        """Say that the start is complete: what waits for this service may go on."""
        return self._tell("READY=1", status)

    def status(self, text: str) -> bool:
        """Say in one line for people how things are."""
        return self._tell("", text)

    def alive(self) -> bool:
        """Give a sign of life."""
        return self._tell("WATCHDOG=1")

    def stopping(self, status: str = "") -> bool:
        """Say that the end has begun."""
        return self._tell("STOPPING=1", status)

    def extend_timeout(self, seconds: float) -> bool:
        """Ask for this much time from now on, for a start or a stop that takes long."""
        return self._tell(f"EXTEND_TIMEOUT_USEC={math.ceil(seconds * _MICROS_PER_S)}")

    def _tell(self, assignment: str, status: str = "") -> bool:
        if self._address is None:
            return False
        # A line break would begin the next assignment.
        lines = [assignment, f"STATUS={' '.join(status.split())}" if status.strip() else ""]
        text = "\n".join(line for line in lines if line)
        # A leading @ stands for the zero byte of Linux's abstract sockets.
        at = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.settimeout(_SEND_TIMEOUT_S)
                line.connect(at)
                line.sendall(text.encode("utf-8", "replace"))
        except (OSError, ValueError):
            return False
        return True


async def keep_alive(
    notifier: Notifier,
    interval_s: float | None,
    pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> None:
    """Give signs of life for ever; returns at once when none are due.

    It runs on the daemon's own loop, so that a loop that hangs falls silent and is restarted.
    """
    while interval_s is not None:
        notifier.alive()
        await pause(interval_s)
