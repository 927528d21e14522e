"""An answer whose body is still to come, read piece by piece, and left when nobody wants it."""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Final, cast

import httpx

from pool_core.fetch.errand import Errand, LeftError, Stop
from pool_core.fetch.faults import fault_of, left, stalled
from pool_core.fetch.routes import hop_of

__all__ = ["Stream"]

_LOOK_AGAIN_MS: Final = 200
_HANGING_UP_S: Final = 2.0


class Stream:
    """An answer whose body is still to come; header names are lower case.

    hub_headers are those of the hub's own answer, also when it sent us elsewhere; hops counts how
    often it did.
    """

    def __init__(
        self,
        response: httpx.Response,
        url: httpx.URL,
        *,
        hub_headers: Mapping[str, str],
        hops: int,
        timeout_s: float,
        stop: Stop | None = None,
    ) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = dict(response.headers)
        self.url = str(url)
        self.hub_headers = hub_headers
        self.hops = hops
        self._response = response
        self._hop = hop_of(url)
        self._timeout_s = timeout_s
        self._stop = stop
        self._readable: _Readable | None = None

    @property
    def host(self) -> str:
        """Who answered."""
        return self._hop.host

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes; raises PeerError, and CANCELLED soon after stop says so."""
        length = self.headers.get("content-length", "")
        missing = int(length) if length.isdecimal() else 0
        pieces = self._response.iter_raw()
        try:
            # What came with the headers waits in the client, where nobody can look for it.
            piece = self._awaited(pieces)
            while piece is not None:
                yield piece
                missing -= len(piece)
                piece = self._next(pieces, missing)
        except httpx.HTTPError as error:
            raise fault_of(error, self._hop, read_timeout_s=self._timeout_s) from error

    def _next(self, pieces: Iterator[bytes], missing: int) -> bytes | None:
        if self._stop is None:
            return next(pieces, None)
        if missing <= 0:
            return self._awaited(pieces)
        # The client hands out all that it has, so that what is missing is still to come.
        self._wait_for_more(self._stop)
        return next(pieces, None)

    def _awaited(self, pieces: Iterator[bytes]) -> bytes | None:
        """The next piece, where only a read can tell whether there is one."""
        if self._stop is None:
            return next(pieces, None)
        has_gone = threading.Event()
        errand = Errand(lambda: next(pieces, None), too_late=lambda _: has_gone.set())
        try:
            return errand.outcome(self._stop, leave=self._hang_up)
        except LeftError as error:
            # Whoever closes the connection after us must not meet a reader there.
            has_gone.wait(_HANGING_UP_S)
            raise left(self._hop) from error

    def _hang_up(self) -> None:
        found = cast("object", self._response.extensions["network_stream"].get_extra_info("socket"))
        if isinstance(found, socket.socket):
            with contextlib.suppress(OSError):
                # The plain socket's own: that of TLS would change what the reader is using.
                socket.socket.shutdown(found, socket.SHUT_RDWR)

    def _wait_for_more(self, stop: Stop) -> None:
        if self._readable is None:
            self._readable = _Readable(self._response)
        for _ in range(max(1, int(self._timeout_s * 1000 / _LOOK_AGAIN_MS))):
            if stop():
                raise left(self._hop)
            if self._readable.within(_LOOK_AGAIN_MS):
                return
        raise stalled(self._hop, self._timeout_s)


class _Readable:
    """Tells whether a connection has something to read, without reading it."""

    def __init__(self, response: httpx.Response) -> None:
        stream = response.extensions["network_stream"]
        found = cast("object", stream.get_extra_info("socket"))
        # TLS inside the TLS of a proxy keeps a buffer that nobody can look into.
        is_nested = isinstance(stream.get_extra_info("ssl_object"), ssl.SSLObject)
        self._socket = found if isinstance(found, socket.socket) and not is_nested else None
        self._poll = select.poll()
        if self._socket is not None:
            self._poll.register(self._socket, select.POLLIN)

    def within(self, timeout_ms: int) -> bool:
        """True when a read would give something, or when only a read can tell."""
        if self._socket is None:
            return True
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        return bool(self._poll.poll(timeout_ms))
