"""A worker's side of a connection, driven byte by byte by the test, and a receiver that records."""

import asyncio
import contextlib
import select
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from orchestratord.upstream.exchange import Exchange, Fault
from support.waiting import until

__all__ = ["Peer", "Recorder", "ScriptedWorker"]


class Peer:
    """One accepted connection: nothing is sent, read or closed unless the test says so."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection

    async def read_request(self) -> bytes:
        """Read head and body of the request that the exchange sent."""
        received = b""
        while b"\r\n\r\n" not in received:
            received += await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        head, _, body = received.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        while len(body) < length:
            body += await asyncio.get_running_loop().sock_recv(self._socket, 65536)
        return head + b"\r\n\r\n" + body

    async def receive(self, limit_bytes: int) -> bytes:
        """Take what has come, at most so much."""
        return await asyncio.get_running_loop().sock_recv(self._socket, limit_bytes)

    async def send(self, data: bytes) -> None:
        """Send these bytes."""
        await asyncio.get_running_loop().sock_sendall(self._socket, data)

    def is_held_back(self) -> bool:
        """True when the other side takes no more bytes."""
        return not select.select([], [self._socket], [], 0)[1]

    async def wait_closed(self) -> None:
        """Wait until the exchange has closed the connection."""
        with contextlib.suppress(ConnectionError):
            while await asyncio.get_running_loop().sock_recv(self._socket, 65536):
                pass

    def close(self) -> None:
        """Close in good order."""
        self._socket.close()

    def reset(self) -> None:
        """Close by a reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()


class ScriptedWorker:
    """Listens on a free port; each connection is a Peer."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._peers: list[Peer] = []

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._listener.getsockname()
        return host, port

    async def accept(self) -> Peer:
        """Take the next connection."""
        connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        peer = Peer(connection)
        self._peers.append(peer)
        return peer

    async def answer(self, *pieces: bytes) -> bytes:
        """Serve one connection: read its request, send the pieces, close."""
        peer = await self.accept()
        request = await peer.read_request()
        for piece in pieces:
            await peer.send(piece)
        peer.close()
        return request

    def close(self) -> None:
        """Close whatever the test left open."""
        for peer in self._peers:
            peer.close()
        self._listener.close()


@dataclass
class Recorder:
    """Notes every call in order and insists that nothing follows the last one."""

    calls: list[str] = field(default_factory=list)
    status: int = 0
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    pieces: list[bytes] = field(default_factory=list)
    fault: Fault | None = None
    abort_in: str = ""
    exchange: Exchange | None = None

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Note the head."""
        self.status, self.headers = status, headers
        self._note("head")

    def data(self, body: bytes) -> None:
        """Note a piece of body."""
        assert type(body) is bytes
        assert body
        self.pieces.append(body)
        self.body += body
        self._note("data")

    def ended(self) -> None:
        """Note the good end."""
        self._note("ended")

    def broken(self, fault: Fault) -> None:
        """Note the bad end."""
        self.fault = fault
        self._note("broken")

    @property
    def over(self) -> bool:
        """True after ended or broken."""
        return bool(self.calls) and self.calls[-1] in ("ended", "broken")

    async def wait_over(self) -> None:
        """Wait for ended or broken."""
        await until(lambda: self.over, what="the end of the exchange")

    async def wait_bytes(self, count: int) -> None:
        """Wait until this much body has come."""
        await until(lambda: len(self.body) >= count, what=f"{count} bytes of body")

    def _note(self, call: str) -> None:
        assert not self.over, f"{call} after {self.calls[-1]}"
        self.calls.append(call)
        if call == self.abort_in and self.exchange is not None:
            self.exchange.abort()
