"""What the system does for the connections of callers, set once before the first one comes.

Every accepted connection inherits it. Without it a caller whose machine lost its power would hold
its relay, and with that a slot of the worker, for a quarter of an hour.
"""

import contextlib
import resource
import socket
from typing import Final, cast

from pool_managerd.serving.places import PLACES

__all__ = ["relays_limit", "set_up_callers"]

# Unheard for so long: what we sent is not acknowledged, or nothing answers to our probes. The
# system counts a caller that lives and reads nothing in the same way, and a relay whose reader
# pauses must outlast that pause.
_DEAD_AFTER_S: Final = 120
_PROBE_AFTER_S: Final = 15
_PROBE_EVERY_S: Final = 15
_PROBES: Final = 7

_RELAYS_MAX: Final = 1000
_RELAYS_MIN: Final = 16
# Logs, workers, downloads, the API: what must work although all relays are taken.
_OWN_FILES: Final = 256 + PLACES
# The usual limit of a login shell is 1024, which is less than the relays that we promise.
_OPEN_FILES: Final = 2 * _RELAYS_MAX + _OWN_FILES


def set_up_callers(listener: socket.socket) -> None:
    """Find out soon that a caller is gone."""
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = (
        ("TCP_KEEPIDLE", _PROBE_AFTER_S),
        ("TCP_KEEPINTVL", _PROBE_EVERY_S),
        ("TCP_KEEPCNT", _PROBES),
        ("TCP_USER_TIMEOUT", _DEAD_AFTER_S * 1000),
    )
    for name, value in wanted:
        # Not every system knows each of them.
        option = cast("int | None", getattr(socket, name, None))
        if option is not None:
            listener.setsockopt(socket.IPPROTO_TCP, option, value)


def relays_limit() -> int:
    """How many relays there may be; each takes two of the files that we are granted."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < _OPEN_FILES:
        wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
        # Some systems grant less than their own limit says: then what we have must do.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft == resource.RLIM_INFINITY:
        return _RELAYS_MAX
    return max(_RELAYS_MIN, min((soft - _OWN_FILES) // 2, _RELAYS_MAX))
