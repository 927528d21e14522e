"""uvicorn inside our own process: our socket, our signals, our log."""

import contextlib
import socket
from asyncio import Event
from collections.abc import Generator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

__all__ = ["EmbeddedServer"]

_GRACE_S: Final = 10


class EmbeddedServer(uvicorn.Server):
    """Serves an app until `should_exit`; `listening` is set once it answers."""

    def __init__(self, app: ASGIApp) -> None:
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
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self.listening = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer on the given sockets."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to main: uvicorn would raise them again and skip our clean-up."""
        yield
