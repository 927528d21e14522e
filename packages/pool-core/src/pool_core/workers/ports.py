"""Chooses a worker's port: a pure order of candidates and a test that a port is really free.

The range lies below the one that outgoing connections use, so that a probe can never meet
itself and no connection of ours can take a worker's port.
"""

import errno
import socket
from collections.abc import Callable, Collection, Iterator
from typing import Final

__all__ = ["FIRST", "LAST", "candidates", "choose_port", "is_free"]

FIRST: Final = 8001
LAST: Final = 8999


def candidates(unavailable: Collection[int]) -> Iterator[int]:
    """Every port of the range, lowest first, without those already spoken for."""
    return (port for port in range(FIRST, LAST + 1) if port not in unavailable)


def choose_port(
    unavailable: Collection[int], free: Callable[[int], bool] | None = None
) -> int | None:
    """The first candidate that passes the test; None when the range is used up."""
    test = free or is_free
    return next((port for port in candidates(unavailable) if test(port)), None)


def is_free(port: int) -> bool:
    """Bind and listen on both loopbacks: two sockets may share a bind, only one may listen."""
    return all(
        _listens(family, host, port)
        for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
    )


def _listens(family: socket.AddressFamily, host: str, port: int) -> bool:
    try:
        listener = socket.socket(family, socket.SOCK_STREAM)
    except OSError:
        # A host without this family cannot have the port in use there.
        return True
    with listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen(1)
        except OSError as error:
            # The address itself is missing where IPv6 is switched off.
            return family == socket.AF_INET6 and error.errno == errno.EADDRNOTAVAIL
    return True
