"""uvicorn inside our own process: our socket, our signals, our log, and the relays beside it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Generator
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from pool_managerd.serving.doorway import BODY_S, HEAD_S, Doorway
from pool_managerd.serving.places import Place, Places
from pool_managerd.serving.reception import Reception
from pool_managerd.serving.relay import Relays

__all__ = ["EmbeddedServer"]

_GRACE_S: Final = 10


class EmbeddedServer(uvicorn.Server):
    """Serves an app until `should_exit`; `listening` is set once it answers.

    `to_plain` is what a caller hears that speaks plain HTTP to a port that speaks HTTPS.
    """

    def __init__(
        self,
        app: ASGIApp,
        tls: ssl.SSLContext | None = None,
        relays: Relays | None = None,
        *,
        head_s: float = HEAD_S,
        body_s: float = BODY_S,
        places: Places | None = None,
        to_plain: Callable[[], bytes] = bytes,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Doorway,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self.listening = asyncio.Event()
        self._tls = tls
        self._relays = relays
        self._head_s = head_s
        self._body_s = body_s
        self._places = places or Places()
        self._to_plain = to_plain
        self._receptions: list[Reception] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer on the given sockets; the receptions stand for uvicorn's own servers."""
        self.servers = []
        self._receptions = [
            Reception(
                sock,
                self._doorway,
                places=self._places,
                tls=self._tls,
                to_plain=self._to_plain,
                handshake_s=self._head_s,
                on_end=self._give_up,
            )
            for sock in sockets or ()
        ]
        for reception in self._receptions:
            reception.open()
        self.started = True
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the relays at once: whoever had one finds another way; then everything else."""
        for reception in self._receptions:
            # Before the relays end, so that none comes after.
            await reception.close()
        if self._relays is not None:
            self._relays.close_all()
        await super().shutdown(sockets)

    def _doorway(self, place: Place) -> Doorway:
        return Doorway(
            place,
            self._relays,
            head_s=self._head_s,
            body_s=self._body_s,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    def _give_up(self) -> None:
        """Nobody is heard any more: a service manager starts us anew."""
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to main: uvicorn would raise them again and skip our clean-up."""
        yield
