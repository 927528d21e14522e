"""Waits for the order to leave, lets running answers end, and says with which code to exit.

The main thread only waits here, so that a signal is handled at once: a thread inside the engine
cannot run Python's handlers. The wake-up socket is what makes that independent of which of the
engine's threads the system delivered the signal to.
"""

import select
import signal
import socket
import threading
from collections.abc import Callable
from typing import Final

__all__ = ["StopSignals", "drain", "wait_until_idle"]

_GRACE_S: Final = 8.0
_POLL_S: Final = 0.05
_QUIET_READINGS: Final = 2


class StopSignals:
    """Turns SIGTERM and SIGINT into bytes on a socket that the main thread waits on."""

    def __init__(self) -> None:
        self.arrivals, self._sender = socket.socketpair()
        self.arrivals.setblocking(False)
        self._sender.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: None)

    def wait(self) -> None:
        """Return when a stop signal has arrived."""
        _readable(self.arrivals)
        self.arrivals.recv(1)

    def close(self) -> None:
        """Give the sockets back."""
        self.arrivals.close()
        self._sender.close()


def wait_until_idle(is_busy: Callable[[], bool], pause: Callable[[float], bool]) -> None:
    """Return once the engine was idle twice in a row, so that the last bytes are on their way.

    The pause between two readings says True when nobody waits for the answer any more.
    """
    quiet = 0
    while quiet < _QUIET_READINGS:
        quiet = 0 if is_busy() else quiet + 1
        if pause(_POLL_S):
            return


def drain(signals: StopSignals, is_busy: Callable[[], bool], *, grace_s: float = _GRACE_S) -> int:
    """Wait for the end of all requests, of the grace, or for a second signal; the exit code."""
    idle, sender = socket.socketpair()
    over = threading.Event()

    def report() -> None:
        # Closing the sender is the report: the other end becomes readable.
        with sender:
            wait_until_idle(is_busy, over.wait)

    # A daemon thread: the process leaves by os._exit whether or not the engine answers it.
    threading.Thread(target=report, name="drain", daemon=True).start()
    with idle:
        ready = _readable(signals.arrivals, idle, timeout_s=grace_s)
    over.set()
    return 1 if signals.arrivals in ready else 0


def _readable(*sources: socket.socket, timeout_s: float | None = None) -> list[socket.socket]:
    ready, _, _ = select.select(list(sources), [], [], timeout_s)
    return ready
