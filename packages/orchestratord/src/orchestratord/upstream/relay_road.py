"""The road to workers of a host whose pool-managerd speaks TLS: one relayed connection each.

The pool is asked for a worker; behind its 101 the connection carries the worker's bytes. The peer
is known by the certificate that was pinned when the host joined.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, cast

import orjson

from orchestrator_core.errors import Code
from orchestrator_core.units import KIB
from orchestratord.upstream.http1 import Malformed, ResponseLimits, ResponseParser
from orchestratord.upstream.loose import as_object, as_text
from orchestratord.upstream.request import Address, host_header
from orchestratord.upstream.road import RoadDownError

__all__ = ["Relay", "RelayRoad"]

_SWITCHED: Final = re.compile(rb"HTTP/1\.1 101[ \r]")
_STATUS_BYTES: Final = len(b"HTTP/1.1 101 ")
_HEAD_END: Final = b"\r\n\r\n"
_ANSWER_BYTES: Final = 16 * KIB
_LINE_LENGTH: Final = 300
_WORKER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_KEY: Final = re.compile(r"[\x21-\x7e]+")
# With these the pool speaks of the worker; with every other code it refuses us.
_ABOUT_THE_WORKER: Final = frozenset({Code.WORKER_NOT_FOUND, Code.UNREACHABLE, Code.LOADING})


@dataclass(frozen=True, slots=True)
class Relay:
    """Where a pool's TLS port is, whom we take for it there, and the key that it gave us."""

    pool_name: str
    address: Address
    trust: ssl.SSLContext = field(repr=False)
    control_key: str = field(repr=False)


class RelayRoad:
    """The way to one worker of such a pool; it goes to the worker's own port and nowhere else."""

    name = "relay"

    def __init__(self, relay: Relay, worker_id: str) -> None:
        self._relay = relay
        self._worker_id = worker_id

    async def connect(
        self,
        make: Callable[[], asyncio.Protocol],
        address: Address,  # noqa: ARG002 - the pool knows where its worker listens.
    ) -> None:
        """Ask the pool for the worker and hand the connection over."""
        loop = asyncio.get_running_loop()
        relay = self._relay
        door = _Door(loop.create_future(), make)
        request = self._request()
        host, port = relay.address
        try:
            await loop.create_connection(lambda: door, host, port, ssl=relay.trust)
        except OSError as error:
            raise RoadDownError(f"pool {relay.pool_name} cannot be reached: {error}") from error
        try:
            door.ask(request)
            refusal = await door.answered
        except BaseException:
            door.abort()
            raise
        if refusal is not None:
            raise self._error(refusal)

    def _request(self) -> bytes:
        relay = self._relay
        if not (_WORKER.fullmatch(self._worker_id) and _KEY.fullmatch(relay.control_key)):
            raise RoadDownError(
                f"what pool {relay.pool_name} says of its worker fits into no request"
            )
        lines = (
            f"POST /workers/{self._worker_id}/relay HTTP/1.1",
            f"Host: {host_header(relay.address)}",
            f"Authorization: Bearer {relay.control_key}",
            "Connection: Upgrade",
            "Upgrade: llorch-relay",
            "Content-Length: 0",
            "\r\n",
        )
        return "\r\n".join(lines).encode("ascii")

    def _error(self, refusal: "_Refused") -> OSError:
        text = f"pool {self._relay.pool_name} relays nothing: {refusal.reason}"
        return OSError(text) if refusal.code in _ABOUT_THE_WORKER else RoadDownError(text)


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why the pool does not relay; without a code it did not say."""

    reason: str
    code: str = ""


class _Door(asyncio.Protocol):
    """Reads the answer to the request, and gives the connection away behind a 101."""

    def __init__(
        self, answered: asyncio.Future[_Refused | None], make: Callable[[], asyncio.Protocol]
    ) -> None:
        self.answered = answered
        self._make = make
        self._transport: asyncio.Transport | None = None
        self._kept = bytearray()

    def ask(self, request: bytes) -> None:
        """Send the request."""
        if self._transport is not None:
            self._transport.write(request)

    def abort(self) -> None:
        """Give up: nobody waits any more."""
        self.answered.cancel()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, for now."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Look whether the answer is there."""
        kept = self._kept
        kept += data
        if len(kept) < _STATUS_BYTES:
            return
        if _SWITCHED.match(kept) is None:
            self._read_refusal()
            return
        end = kept.find(_HEAD_END)
        if end >= 0:
            self._hand_over(bytes(kept[end + len(_HEAD_END) :]))
        elif len(kept) > _ANSWER_BYTES:
            self._refuse(_Refused("the head of its answer is too long"))

    def eof_received(self) -> bool | None:
        """Learn that the pool says no more."""
        self._refuse(_Refused("it closed the connection before it answered"))
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        """Learn that the connection is gone."""
        reason = getattr(exc, "strerror", None) or "it closed the connection before it answered"
        self._refuse(_Refused(reason))

    def _hand_over(self, first: bytes) -> None:
        # All in one call of the loop: no byte can come between the two protocols.
        transport, self._transport = self._transport, None
        if transport is None or self.answered.done():
            return
        protocol = self._make()
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        if first:
            protocol.data_received(first)
        self.answered.set_result(None)

    def _read_refusal(self) -> None:
        answer = _Answer()
        parser = ResponseParser(answer, ResponseLimits())
        parser.expect()
        # Anew from its beginning with each read: it comes in one, and it is short.
        verdict = parser.feed(bytes(self._kept))
        if isinstance(verdict, Malformed):
            self._refuse(_Refused(f"its answer is not valid HTTP: {verdict}"))
        elif verdict is not None or len(self._kept) > _ANSWER_BYTES:
            self._refuse(answer.as_refusal())

    def _refuse(self, refusal: _Refused) -> None:
        if not self.answered.done():
            self.answered.set_result(refusal)
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


class _Answer:
    """Gathers a refusal."""

    def __init__(self) -> None:
        self.status = 0
        self._body = b""

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:  # noqa: ARG002 - the port's.
        """Keep the status."""
        self.status = status

    def data(self, body: bytes) -> None:
        """Keep what is said."""
        self._body += body

    def as_refusal(self) -> _Refused:
        """The pool's one line, or the bare status."""
        try:
            told = as_object(orjson.loads(self._body)) or {}
        except orjson.JSONDecodeError:
            told = {}
        error = as_object(told.get("error")) or {}
        line = " ".join(as_text(error.get("message")).split())[:_LINE_LENGTH]
        return _Refused(line or f"it answered {self.status}", as_text(error.get("code")))
