"""The first bytes of a connection: a relay is taken over, everything else is for uvicorn.

It also sends off who does not finish a request in time or within bounds. Its place at the door is
given back when the connection ends or has become a relay.
"""

import asyncio
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from orchestrator_core.errors import Refusal
from orchestrator_core.units import KIB
from pool_managerd.serving.places import Place
from pool_managerd.serving.relay import Relays
from pool_managerd.serving.relay_head import Opening, Peek, peek

__all__ = ["BODY_S", "HEAD_S", "Doorway"]

HEAD_S: Final = 10.0
# The largest body is 1 MiB, and most have no 100 bytes.
BODY_S: Final = 30.0
_HEAD_LIMIT_BYTES: Final = 64 * KIB
_BODY_FIELDS: Final = frozenset({b"content-length", b"transfer-encoding"})


class _Nowhere(list[tuple[bytes, bytes]]):
    """Takes fields and keeps none."""

    def append(self, _: tuple[bytes, bytes], /) -> None:
        """Let it go."""


_TRAILERS: Final = _Nowhere()


class Doorway(HttpToolsProtocol):
    """One connection until it is known what it is, and every ordinary one after that."""

    def __init__(
        self,
        place: Place,
        relays: Relays | None,
        *,
        head_s: float = HEAD_S,
        body_s: float = BODY_S,
        **parts: Any,
    ) -> None:
        super().__init__(**parts)
        self._place = place
        self._relays = relays
        self._head_s = head_s
        self._body_s = body_s
        self._held: bytearray | None = None
        self._head_bytes = 0
        self._in_head = False
        self._has_asked = False
        self._why = ""
        self._limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; with TLS its handshake is over."""
        super().connection_made(transport)
        if self._relays is not None and self.scheme == "https":
            self._held = bytearray()
        self._hurry(self._head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._calm_down()
        self._place.leave()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Look until it is clear who shall read on."""
        if self._held is None:
            self._read(data)
            return
        self._held += data
        found = peek(bytes(self._held))
        if found is Peek.MORE:
            return
        held, self._held = bytes(self._held), None
        if isinstance(found, Peek):
            self._read(held)
        else:
            self._hand_over(found)

    def on_message_begin(self) -> None:
        """A request starts."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._hurry(self._head_s)

    def on_headers_complete(self) -> None:
        """Its head is whole; its body has a limit of its own."""
        self._in_head = False
        self._calm_down()
        if not self.url.startswith(b"/"):
            # A whole URL is asked of a proxy, and its host need not be the one of the Host field.
            raise self._refused("The target of the request is not a path.")
        super().on_headers_complete()
        self._has_asked = True
        # What follows a body looks like a head to the parser; no key and no host may come so late.
        self.headers = _TRAILERS
        if self.parser is not None and self.parser.should_upgrade():
            self._stay_with_http()
        self._hurry(self._body_s)

    def on_message_complete(self) -> None:
        """The request is whole; its answer may take its time."""
        self._calm_down()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request of ours, and say why where it is known."""
        super().send_400_response(self._why or msg)

    def _stay_with_http(self) -> None:
        """Answer as if no other protocol were wished for; the parser will not read on."""
        self.cycle.keep_alive = False
        fields = {name for name, value in self.cycle.scope["headers"] if value != b"0"}
        if fields & _BODY_FIELDS:
            raise self._refused("This server does not upgrade: send the request without Upgrade.")

    def _refused(self, why: str) -> httptools.HttpParserError:
        self._why = why
        return httptools.HttpParserError(why)

    def _unsupported_upgrade_warning(self) -> None:
        """Say nothing: a line for each would let a stranger fill the log."""

    def _read(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _HEAD_LIMIT_BYTES and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")
        elif not self._has_asked or self.cycle.response_complete:
            # Bytes that begin no request would else end uvicorn's own limit for idle connections.
            self._hurry(self._head_s)

    def _hand_over(self, found: Opening | Refusal) -> None:
        relays = self._relays
        if relays is None:
            raise AssertionError("nothing was held back for a relay")
        self._calm_down()
        # From here on the server neither counts this connection nor closes it.
        self.connections.discard(self)
        if isinstance(found, Refusal):
            relays.turn_away(self.transport, found)
        elif relays.begin(self.transport, found):
            self._place.leave()

    def _hurry(self, limit_s: float) -> None:
        if self._limit is None:
            self._limit = self.loop.call_later(limit_s, self.transport.abort)

    def _calm_down(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
