"""uvicorn inside our own process: our socket, our signals, our log."""

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn

from orchestratord.api.asgi import App

__all__ = ["EmbeddedServer"]


class EmbeddedServer(uvicorn.Server):
    """Serves an app until `should_exit`; `listening` is set once it answers."""

    def __init__(self, app: App, grace_s: float) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
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
