"""uvicorn inside our own process: our socket, our signals, our log."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, Final

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestrator_core.units import KIB
from orchestratord.api.asgi import App
from orchestratord.app.callers import Callers

__all__ = ["EmbeddedServer"]

_log: Final = structlog.stdlib.get_logger()

_HEAD_LIMIT_BYTES: Final = 64 * KIB
_CONNECTIONS: Final = 10_000
_BACKLOG: Final = 2048
# A handshake takes a few round trips; until it is over nobody of ours sees the connection.
_HANDSHAKE_S: Final = 10.0
_BODY_FIELDS: Final = frozenset({b"content-length", b"transfer-encoding"})


class _Nowhere(list[tuple[bytes, bytes]]):
    """Takes fields and keeps none."""

    def append(self, _: tuple[bytes, bytes], /) -> None:
        """Let it go."""


_TRAILERS: Final = _Nowhere()


class _Connection(HttpToolsProtocol):
    """Refuses a head that does not end, and tells whose turn it is to speak."""

    _why = ""
    _has_asked = False
    _in_head = False
    _head_bytes = 0

    def __init__(self, callers: Callers, **parts: Any) -> None:
        super().__init__(**parts)
        self._callers = callers

    @property
    def is_heard(self) -> bool:
        """True when the request has got its answer, or the beginning of it."""
        return self.cycle.response_started

    def hang_up(self) -> None:
        """Close without waiting for the client."""
        self.transport.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there."""
        super().connection_made(transport)
        self._callers.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        super().connection_lost(exc)
        self._callers.leave(self)

    def on_message_begin(self) -> None:
        """A request starts."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """Its head is whole; its body has a cap of its own."""
        self._in_head = False
        if not self.url.startswith(b"/"):
            # A whole URL is asked of a proxy, and its host need not be the one of the Host field.
            raise self._refused("The target of the request is not a path.")
        super().on_headers_complete()
        self._has_asked = True
        # What follows a body looks like a head to the parser; no key and no host may come so late.
        self.headers = _TRAILERS
        self._callers.head_came(self)
        if self.parser is not None and self.parser.should_upgrade():
            self._stay_with_http()

    def _stay_with_http(self) -> None:
        """Answer as if no other protocol were wished for; the parser will not read on."""
        self.cycle.keep_alive = False
        fields = {name for name, value in self.cycle.scope["headers"] if value != b"0"}
        if fields & _BODY_FIELDS:
            raise self._refused("This server does not upgrade: send the request without Upgrade.")

    def _refused(self, why: str) -> httptools.HttpParserError:
        self._why = why
        return httptools.HttpParserError(why)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request of ours, and say why where it is known."""
        super().send_400_response(self._why or msg)

    def on_response_complete(self) -> None:
        """The next request may come, or waits already; who waits too long is found by the sweep."""
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._callers.answered(self)

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head has become too large by that."""
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_LIMIT_BYTES and not self.transport.is_closing():
                self._in_head = False
                self.send_400_response("The head of the request is too large.")
        elif self._has_asked and self.cycle.more_body:
            self._callers.body_goes_on(self, len(data))
        else:
            self._callers.body_came(self)


class EmbeddedServer(uvicorn.Server):
    """Serves an app until `should_exit`; `listening` is set once it answers."""

    def __init__(
        self,
        app: App,
        grace_s: float,
        tls: ssl.SSLContext | None = None,
        *,
        now: Callable[[], float],
        connections_limit: int = _CONNECTIONS,
        handshake_s: float = _HANDSHAKE_S,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=HttpToolsProtocol,
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
        self._tls = tls
        self._handshake_s = handshake_s
        self._limit = connections_limit
        self._callers = Callers(now=now, limit=connections_limit)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to answer on the given sockets."""
        make = partial(
            _Connection,
            self._callers,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        handshake_s = None if self._tls is None else self._handshake_s
        loop = asyncio.get_running_loop()
        self.servers = [
            await loop.create_server(
                make, sock=sock, ssl=self._tls, ssl_handshake_timeout=handshake_s, backlog=_BACKLOG
            )
            for sock in sockets or ()
        ]
        self.started = True
        self.listening.set()

    def sweep(self) -> None:
        """Hang up on clients that keep us waiting; called once a second."""
        crowded_out = self._callers.sweep()
        if crowded_out:
            _log.warning("connections.crowded", closed=crowded_out, limit=self._limit)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave the signals to the daemon: uvicorn would raise them again and skip our clean-up."""
        yield
