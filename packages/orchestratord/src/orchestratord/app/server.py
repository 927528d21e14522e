"""uvicorn inside our own process: our socket, our signals, our log."""

import asyncio
import contextlib
import socket
from collections.abc import Generator
from typing import Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestrator_core.units import KIB
from orchestratord.api.asgi import App

__all__ = ["EmbeddedServer"]

_HEAD_LIMIT_BYTES: Final = 64 * KIB


class _BoundedHeads(HttpToolsProtocol):
    """Refuses a request whose head does not end: until then nobody has shown a key."""

    _in_head = False
    _head_bytes = 0

    def on_message_begin(self) -> None:
        """A request starts."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Its head is whole; its body has a cap of its own."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head has become too large by that."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_LIMIT_BYTES and not self.transport.is_closing():
                self._in_head = False
                self.send_400_response("The head of the request is too large.")


class EmbeddedServer(uvicorn.Server):
    """Serves an app until `should_exit`; `listening` is set once it answers."""

    def __init__(self, app: App, grace_s: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_BoundedHeads,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=max(1, round(grace_s)),
            )
        )
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer on the given sockets."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to the daemon: uvicorn would raise them again and skip our clean-up."""
        yield
