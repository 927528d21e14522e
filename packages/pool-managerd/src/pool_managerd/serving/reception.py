"""Accepts the connections of one listening socket, and sees to their handshakes.

The loop's own server would accept without end: whoever opens connections and says nothing would
take the files that workers and logs need. Whom there is no place for is hung up on at once.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

import structlog

from pool_managerd.serving.greeting import is_handshake, tell_scheme
from pool_managerd.serving.places import Place, Places

__all__ = ["Reception"]

_BACKLOG: Final = 2048
# A few round trips; until a handshake is over nobody of ours sees the connection.
_HANDSHAKE_S: Final = 10.0
# What a slow reader has not taken by then is lost, when we have closed already.
_FAREWELL_S: Final = 10.0
_OUT_OF_FILES_S: Final = 0.5

_log: Final = structlog.stdlib.get_logger()


class Reception:
    """One listening socket and the connections that are not served yet."""

    def __init__(
        self,
        listener: socket.socket,
        make: Callable[[Place], asyncio.Protocol],
        *,
        places: Places,
        tls: ssl.SSLContext | None,
        to_plain: Callable[[], bytes],
        handshake_s: float = _HANDSHAKE_S,
        on_end: Callable[[], None],
    ) -> None:
        self._listener = listener
        self._make = make
        self._places = places
        self._tls = tls
        self._to_plain = to_plain
        self._handshake_s = None if tls is None else handshake_s
        self._farewell_s = None if tls is None else _FAREWELL_S
        self._on_end = on_end
        self._accepting: asyncio.Task[None] | None = None
        self._greetings: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Begin to accept."""
        self._listener.setblocking(False)
        self._listener.listen(_BACKLOG)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())
        self._accepting.add_done_callback(self._ended)

    async def close(self) -> None:
        """Accept nobody any more; a handshake that is under way ends."""
        tasks = [*self._greetings, *([self._accepting] if self._accepting else ())]
        for task in tasks:
            task.cancel()
        # The socket is closed last: a loop must not be waiting for one that is not there.
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._listener)
            except ConnectionError:
                # Whoever called has hung up before we answered.
                continue
            except OSError as error:
                _log.warning("connections.not_accepted", reason=error.strerror)
                await asyncio.sleep(_OUT_OF_FILES_S)
                continue
            self._receive(connection, cast("tuple[str, int]", address)[0])

    def _receive(self, connection: socket.socket, address: str) -> None:
        place = self._places.take(address)
        if place is None:
            self._tell_refused(address)
            connection.close()
            return
        greeting = asyncio.get_running_loop().create_task(self._greet(connection, place))
        self._greetings.add(greeting)
        greeting.add_done_callback(self._greetings.discard)

    def _tell_refused(self, address: str) -> None:
        # A line for each would let a stranger fill the disk: the first, and then every 1024th.
        if self._places.refused % 1024 == 1:
            _log.warning("connections.crowded", address=address, refused=self._places.refused)

    async def _greet(self, connection: socket.socket, place: Place) -> None:
        """Shake hands; from then on the protocol holds the place."""
        is_served = False
        try:
            if await self._is_worth_it(connection):
                await self._hand_over(connection, place)
                is_served = True
        except OSError:
            # No handshake came of it: another program, another certificate, or nothing in time.
            return
        finally:
            if not is_served:
                place.leave()

    async def _is_worth_it(self, connection: socket.socket) -> bool:
        """See that a caller speaks TLS where we do, and tell one that speaks plain HTTP."""
        if self._tls is None:
            return True
        speaks_tls = None
        try:
            async with asyncio.timeout(self._handshake_s):
                speaks_tls = await is_handshake(connection)
            if speaks_tls is False:
                tell_scheme(connection, self._to_plain())
        finally:
            if not speaks_tls:
                connection.close()
        return bool(speaks_tls)

    async def _hand_over(self, connection: socket.socket, place: Place) -> None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # From here on the loop closes it, also when no handshake comes of it.
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: self._make(place),
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=self._handshake_s,
            ssl_shutdown_timeout=self._farewell_s,
        )

    def _ended(self, accepting: asyncio.Task[None]) -> None:
        if not accepting.cancelled():
            _log.error("connections.ended", exc_info=accepting.exception())
            self._on_end()
