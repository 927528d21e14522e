"""A client that is nothing but a socket: it can ask, read what it likes, and leave at any moment."""

import asyncio
import json
import socket
from typing import Any, Self

__all__ = ["RawClient"]

_WAIT_S = 10.0


class RawClient:
    """One connection with one request on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.seen = b""

    @classmethod
    async def ask(
        cls,
        url: str,
        key: str,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        window_bytes: int | None = None,
    ) -> Self:
        """Send a request; a small window makes a client that takes little at a time."""
        connection = socket.socket()
        if window_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
        connection.setblocking(False)
        port = int(url.rpartition(":")[2])
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
        # The smallest buffer there is: what nobody reads stays in the system's hands.
        reader, writer = await asyncio.open_connection(sock=connection, limit=4096)
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        return cls(reader, writer)

    async def until(self, part: bytes) -> bytes:
        """Read on until this has been seen."""
        async with asyncio.timeout(_WAIT_S):
            while part not in self.seen:
                data = await self._reader.read(4096)
                assert data, f"the stream ended without {part!r}: {self.seen!r}"
                self.seen += data
        return self.seen

    async def rest(self) -> bytes:
        """Read the answer to its end."""
        async with asyncio.timeout(_WAIT_S):
            while not self._ended():
                data = await self._reader.read(4096)
                if not data:
                    break
                self.seen += data
        return self.seen

    @property
    def status(self) -> int:
        """The status of the answer, which must have begun."""
        return int(self.seen.split(b" ", 2)[1])

    def leave(self) -> None:
        """Go without a word."""
        self._writer.transport.abort()

    def _ended(self) -> bool:
        head, _, body = self.seen.partition(b"\r\n\r\n")
        if b"chunked" in head:
            return body.endswith(b"0\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        length = fields.get(b"content-length")
        return length is not None and len(body) >= int(length)
