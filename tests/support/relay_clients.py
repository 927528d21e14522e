"""A caller of a pool's TLS port that says what the test says, byte by byte."""

import asyncio
import socket
import ssl
from typing import Self

from support.pool_fakes import WORKER_ID

__all__ = ["RelayClient", "head_for"]

_WAIT_S = 10.0


def head_for(
    worker: str = WORKER_ID, key: str = "the-operator-key", host: str = "localhost", more: str = ""
) -> bytes:
    """What asks for a relay."""
    return (
        f"POST /workers/{worker}/relay HTTP/1.1\r\nHost: {host}\r\n"
        f"Authorization: Bearer {key}\r\nConnection: Upgrade\r\nUpgrade: llorch-relay\r\n{more}\r\n"
    ).encode()


class RelayClient:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.seen = b""

    @classmethod
    async def connect(
        cls, url: str, trust: ssl.SSLContext | None, *, window_bytes: int | None = None
    ) -> Self:
        """Shake hands; a small window makes a caller that takes little at a time."""
        connection = socket.socket()
        if window_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
        connection.setblocking(False)
        port = int(url.rpartition(":")[2])
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        name = None if trust is None else "localhost"
        reader, writer = await asyncio.open_connection(
            sock=connection, ssl=trust, server_hostname=name, limit=4096
        )
        return cls(reader, writer)

    @classmethod
    async def relayed(
        cls,
        url: str,
        trust: ssl.SSLContext,
        head: bytes | None = None,
        *,
        window_bytes: int | None = None,
    ) -> Self:
        """Connect and get a relay."""
        client = await cls.connect(url, trust, window_bytes=window_bytes)
        client.say(head or head_for())
        await client.until(b"\r\n\r\n")
        assert client.seen.startswith(b"HTTP/1.1 101 "), client.seen
        client.seen = client.seen.partition(b"\r\n\r\n")[2]
        return client

    def say(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)

    async def until(self, part: bytes) -> bytes:
        """Read on until this has been seen."""
        async with asyncio.timeout(_WAIT_S):
            while part not in self.seen:
                data = await self.reader.read(4096)
                assert data, f"the connection ended without {part!r}: {self.seen!r}"
                self.seen += data
        return self.seen

    async def rest(self) -> bytes:
        """Read until the other side closes."""
        async with asyncio.timeout(_WAIT_S):
            while data := await self.reader.read(65536):
                self.seen += data
        return self.seen

    async def close(self) -> None:
        """Close in good order."""
        self.writer.close()

    def leave(self) -> None:
        """Go without a word."""
        self.writer.transport.abort()
