"""What the system keeps and does for the connections of clients, set once before the first comes.

Every accepted connection inherits it. Without it the system itself holds megabytes for each client
that does not read, unseen by our own limits, and keeps a connection that we have closed for as long
as such a client likes.
"""

import contextlib
import resource
import socket
from typing import Final, cast

from orchestrator_core.units import KIB

__all__ = ["clients_limit", "raise_open_files", "set_up_clients"]

# More unsent bytes than this stay with us, where they are counted.
_UNSENT_BYTES: Final = 64 * KIB
# Our own patience ends first: this closes what would not even take its end.
_GRACE_S: Final = 5.0

# The usual limit of a login shell is 1024, which is less than the streams that we promise.
_OPEN_FILES: Final = 65_536
_CLIENTS_MIN: Final = 64
_CLIENTS_MAX: Final = 16_384
# The database, the log, pools, orders: what must work although all places are taken.
_OWN_FILES: Final = 256


def raise_open_files() -> int:
    """Let the process open as many files as the system grants it; returns how many it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _OPEN_FILES:
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        # Some systems grant less than their own limit says: then what we have must do.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    granted = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _OPEN_FILES if granted == resource.RLIM_INFINITY else granted


def clients_limit(open_files: int) -> int:
    """How many clients may be connected; each of them may need a connection to a worker too."""
    return max(_CLIENTS_MIN, min((open_files - _OWN_FILES) // 2, _CLIENTS_MAX))


def set_up_clients(listener: socket.socket, slow_reader_s: float) -> None:
    """Send small pieces at once, hold few bytes back, and give up on who takes none for long."""
    wanted = (
        ("TCP_NODELAY", 1),
        ("TCP_NOTSENT_LOWAT", _UNSENT_BYTES),
        ("TCP_USER_TIMEOUT", int((slow_reader_s + _GRACE_S) * 1000)),
    )
    for name, value in wanted:
        option = cast("int | None", getattr(socket, name, None))
        if option is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
