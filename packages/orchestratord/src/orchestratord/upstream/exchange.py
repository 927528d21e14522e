"""Carries one request and its answer over one fresh connection to a worker, by whatever road.

The receiver is called from the loop as bytes arrive: no task, no timer and no await per chunk.
Closing the connection is how a generation is cancelled, so abort() is immediate and final.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final, Protocol, cast

from orchestratord.upstream.http1 import Malformed, ResponseLimits, ResponseParser, Whole
from orchestratord.upstream.request import Address
from orchestratord.upstream.road import DIRECT, Road, RoadDownError

__all__ = ["Exchange", "Fault", "FaultKind", "Receiver", "open_exchange"]

_USER_TIMEOUT_MS: Final = 20_000
_KEEPALIVE_IDLE_S: Final = 10
_KEEPALIVE_INTERVAL_S: Final = 5


def _socket_options() -> tuple[tuple[int, int, int], ...]:
    """List what this system knows of: no delay, and a silent peer's death noticed in 20 s."""
    options = [
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    ]
    for name, value in (
        ("TCP_USER_TIMEOUT", _USER_TIMEOUT_MS),
        ("TCP_KEEPIDLE", _KEEPALIVE_IDLE_S),
        ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL_S),
    ):
        option = cast("int | None", getattr(socket, name, None))
        if option is not None:
            options.append((socket.IPPROTO_TCP, option, value))
    return tuple(options)


_SOCKET_OPTIONS: Final = _socket_options()


def _set_up(connection: socket.socket) -> None:
    """Set the options on the loop's socket."""
    # uvloop borrows the descriptor anew for each option; the family plays no part in setting one.
    borrowed = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, connection.fileno())
    try:
        for level, option, value in _SOCKET_OPTIONS:
            borrowed.setsockopt(level, option, value)
    finally:
        borrowed.detach()


class FaultKind(StrEnum):
    """What broke an exchange.

    With ROAD there was no way to the worker's host, with LOST it broke under the exchange: either
    says nothing about the worker.
    """

    CONNECT = "connect"
    ROAD = "road"
    LOST = "lost"
    EOF = "eof"
    RESET = "reset"
    PROTOCOL = "protocol"
    ABORTED = "aborted"
    TIMEOUT = "timeout"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why there is no whole answer; begun tells whether any byte of one had arrived."""

    kind: FaultKind
    message: str
    begun: bool = False


class Receiver(Protocol):
    """Who gets the answer: head, data as it comes, then exactly one of ended and broken."""

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Take status and lower-case fields."""
        ...

    def data(self, body: bytes) -> None:
        """Take the body bytes of one read, never empty."""
        ...

    def ended(self) -> None:
        """Learn that the answer is whole."""
        ...

    def broken(self, fault: Fault) -> None:
        """Learn that no more of the answer will come."""
        ...


class _Nobody:
    """Stands in for the receiver once it has heard everything, and keeps no cycle alive."""

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Drop it."""

    def data(self, body: bytes) -> None:
        """Drop it."""

    def ended(self) -> None:
        """Drop it."""

    def broken(self, fault: Fault) -> None:
        """Drop it."""


_NOBODY: Final = _Nobody()


class Exchange(asyncio.Protocol):
    """One request on its way or one answer coming in."""

    __slots__ = (
        "_asked",
        "_early",
        "_far",
        "_finished",
        "_loop",
        "_parser",
        "_paused",
        "_receiver",
        "_transport",
        "last_byte_at",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        receiver: Receiver,
        limits: ResponseLimits,
        *,
        far: bool = False,
    ) -> None:
        self._loop = loop
        # The connection is one to the worker's host and not to the worker itself.
        self._far = far
        self._receiver: Receiver = receiver
        self._parser = ResponseParser(receiver, limits)
        self._transport: asyncio.Transport | None = None
        self._asked = False
        self._early: Fault | None = None
        self._finished = False
        self._paused = False
        # The loop's time of the last sign of life; a sweeper compares it once a second.
        self.last_byte_at = loop.time()

    @property
    def finished(self) -> bool:
        """True once nothing more will be delivered."""
        return self._finished

    @property
    def paused(self) -> bool:
        """True while reading is held back, so that silence is ours and not the worker's."""
        return self._paused

    def ask(self, request: bytes) -> Fault | None:
        """Send the request, unless the connection broke before; then say how."""
        if self._early is not None or self._transport is None:
            return self._early or Fault(FaultKind.ABORTED, "the connection was closed by us")
        self._asked = True
        self._parser.expect()
        self.last_byte_at = self._loop.time()
        self._transport.write(request)
        return None

    def pause(self) -> None:
        """Stop reading; the peer is held back by its own socket."""
        if self._transport is not None and not self._finished and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None and not self._finished and self._paused:
            self._paused = False
            self.last_byte_at = self._loop.time()
            self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once; the receiver hears nothing more, not even that."""
        self._finish()

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, unless the caller gave up while it was made."""
        stream = cast("asyncio.Transport", transport)
        if self._finished:
            stream.abort()
            return
        self._transport = stream
        connection = cast("socket.socket | None", stream.get_extra_info("socket"))
        if connection is not None:
            _set_up(connection)

    def data_received(self, data: bytes) -> None:
        """Pass on what one read brought."""
        self.last_byte_at = self._loop.time()
        verdict = self._parser.feed(data)
        if verdict is not None:
            self._conclude(verdict)

    def eof_received(self) -> bool | None:
        """Judge whether the peer's end of the stream is the answer's end."""
        verdict = self._parser.feed_eof()
        if verdict is not None:
            self._conclude(verdict)
        elif not self._finished:
            self._break_at_end()
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Report a connection that did not end by the rules."""
        match exc:
            case _ if self._far:
                # What the worker's own end looks like came before: this is the way's.
                self._break(FaultKind.LOST, f"the way to the worker broke{_reason(exc)}")
            case None if self._speaks_tls():
                # A peer that goes without TLS's own goodbye is heard of only here.
                self._break_at_end()
            case None:
                self._break(FaultKind.ABORTED, "the connection was closed by us")
            case TimeoutError():
                self._break(FaultKind.TIMEOUT, "the worker's host stopped answering")
            case OSError():
                reason = exc.strerror or type(exc).__name__
                self._break(FaultKind.RESET, f"the connection to the worker broke: {reason}")
            case _:
                self._break(FaultKind.ABORTED, f"the connection was dropped: {exc!r}")

    def _conclude(self, verdict: Whole | Malformed) -> None:
        if isinstance(verdict, Malformed):
            self._break(FaultKind.PROTOCOL, f"the worker's answer is not valid HTTP: {verdict}")
        else:
            self._finish().ended()

    def _speaks_tls(self) -> bool:
        transport = self._transport
        return transport is not None and transport.get_extra_info("sslcontext") is not None

    def _break_at_end(self) -> None:
        where = "inside its answer" if self._parser.begun else "before it answered"
        self._break(FaultKind.EOF, f"the worker closed the connection {where}")

    def _break(self, kind: FaultKind, message: str) -> None:
        if self._finished:
            return
        fault = Fault(kind, message, self._parser.begun)
        receiver = self._finish()
        if self._asked:
            receiver.broken(fault)
        else:
            self._early = fault

    def _finish(self) -> Receiver:
        """Close and let everything go; the receiver comes back for its last call."""
        receiver = self._receiver
        self._finished = True
        self._receiver = _NOBODY
        self._parser.close()
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        return receiver


def _reason(exc: Exception | None) -> str:
    told = "" if exc is None else getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return f": {told}" if told else ""


@cache
def _trusted() -> ssl.SSLContext:
    """What this system trusts; read once, because reading it costs more than a whole call."""
    return ssl.create_default_context()


async def _connect_tls(exchange: Exchange, address: Address) -> None:
    host, port = address
    # Reading the certificates for the first time takes longer than a loop may stand still.
    trust = await asyncio.to_thread(_trusted)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: exchange, host, port, ssl=trust)


async def open_exchange(
    address: Address,
    request: bytes,
    receiver: Receiver,
    *,
    connect_timeout_s: float | None,
    limits: ResponseLimits = ResponseLimits(),  # noqa: B008  A frozen record of numbers.
    tls: bool = False,
    road: Road = DIRECT,
) -> Exchange | Fault:
    """Connect and send; a Fault means that the receiver was and will not be called.

    Without a connect timeout the caller's own deadline has to end the wait. With tls the peer has
    to prove its name to the certificates that this system trusts; then no road but the direct one
    leads there.
    """
    far = road is not DIRECT
    if tls and far:
        text = "an engine with https on the loopback of another host cannot be reached from here"
        return Fault(FaultKind.ROAD, text)
    loop = asyncio.get_running_loop()
    exchange = Exchange(loop, receiver, limits, far=far)
    try:
        async with asyncio.timeout(connect_timeout_s):
            if tls:
                await _connect_tls(exchange, address)
            else:
                await road.connect(lambda: exchange, address)
    except TimeoutError:
        exchange.abort()
        waited = "in time" if connect_timeout_s is None else f"within {connect_timeout_s:g} s"
        # Through a way that has just died everything is silence, and none of it the worker's.
        kind = FaultKind.ROAD if far else FaultKind.CONNECT
        return Fault(kind, f"no connection to the worker {waited}")
    except RoadDownError as exc:
        exchange.abort()
        return Fault(FaultKind.ROAD, f"no way to the worker: {exc}")
    except (OSError, ValueError, OverflowError) as exc:
        exchange.abort()
        return Fault(FaultKind.CONNECT, f"no connection to the worker: {exc}")
    except asyncio.CancelledError:
        exchange.abort()
        raise
    return exchange.ask(request) or exchange
