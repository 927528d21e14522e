"""The first byte of a connection to an HTTPS port: a handshake, or somebody who speaks plain HTTP.

Whoever took the wrong scheme gets one clear answer in plain HTTP instead of a broken connection.
"""

import asyncio
import contextlib
import socket
from typing import Final

__all__ = ["is_handshake", "tell_scheme"]

# Every TLS handshake begins with it, and no HTTP request does.
_HANDSHAKE: Final = b"\x16"
_REQUEST_BYTES: Final = 64 * 1024


async def is_handshake(connection: socket.socket) -> bool | None:
    """Look at the first byte and leave it where it is; None when nobody says anything any more."""
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection, _set, readable)
    try:
        await readable
    finally:
        loop.remove_reader(connection)
    first = connection.recv(1, socket.MSG_PEEK)
    return first == _HANDSHAKE if first else None


def tell_scheme(connection: socket.socket, answer: bytes) -> None:
    """Answer in plain HTTP; what was asked is read, or closing would cut the answer."""
    with contextlib.suppress(OSError):
        connection.recv(_REQUEST_BYTES)
        connection.send(answer)
        connection.shutdown(socket.SHUT_WR)


def _set(readable: asyncio.Future[None]) -> None:
    if not readable.done():
        readable.set_result(None)
