"""The relay of a pool behind TLS, without the rest of pool-managerd, for roads that lead there."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import cast

from orchestrator_core.errors import Code, Refusal
from pool_managerd.serving.relay import Relays
from pool_managerd.serving.relay_head import Address, Peek, RelayHead, peek
from support.certificates import KEY, SELF_SIGNED

__all__ = ["RelayHost"]


class RelayHost:
    """Relays to the workers that it is told of, for whoever shows its key."""

    certificate = SELF_SIGNED
    control_key = "control-of-the-session"

    def __init__(self) -> None:
        self.workers: dict[str, int] = {}
        self.mute = False
        self.relays = Relays(self._judge, self._say)
        self.connections: set[asyncio.Transport] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def stop_listening(self) -> None:
        """Refuse further connections; those that are open stay."""
        assert self._server is not None
        self._server.close()

    def drop_all(self) -> None:
        """End every connection at once."""
        for transport in list(self.connections):
            transport.abort()
        self.connections.clear()

    def _judge(self, head: RelayHead) -> Address | Refusal:
        if head.value("authorization") != f"Bearer {self.control_key}":
            return Refusal(Code.BAD_KEY, "this key opens nothing here")
        port = self.workers.get(head.worker)
        if port is None:
            return Refusal(Code.WORKER_NOT_FOUND, f"no worker {head.worker} runs on this host")
        return Address("127.0.0.1", port)

    def _say(self, refusal: Refusal, head: RelayHead | None) -> bytes:
        assert head is not None
        body = json.dumps({"error": {"code": refusal.code, "message": refusal.message}}).encode()
        line = f"HTTP/1.1 {refusal.outcome.http_status} Refused\r\ncontent-length: {len(body)}"
        return f"{line}\r\n\r\n".encode() + body

    @classmethod
    @contextlib.asynccontextmanager
    async def listening(cls, folder: Path) -> AsyncGenerator["RelayHost"]:
        """Run one for a block."""
        host = cls()
        pem = folder / "relay.pem"
        pem.write_text(SELF_SIGNED + KEY, "ascii")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        loop = asyncio.get_running_loop()
        host._server = await loop.create_server(
            lambda: _Door(host), "127.0.0.1", 0, ssl=context, backlog=512
        )
        try:
            yield host
        finally:
            host._server.close()
            host.drop_all()
            host.relays.close_all()
            # Each end of a connection learns of it in a turn of the loop of its own.
            for _ in range(5):
                await asyncio.sleep(0)


class _Door(asyncio.Protocol):
    """A connection until its head is whole."""

    def __init__(self, host: RelayHost) -> None:
        self._host = host
        self._kept = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._host.connections.add(self._transport)

    def data_received(self, data: bytes) -> None:
        self._kept += data
        if self._host.mute:
            return
        found = peek(self._kept)
        assert not isinstance(found, Refusal)
        if not isinstance(found, Peek):
            self._host.relays.begin(self._transport, found)

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.connections.discard(self._transport)
