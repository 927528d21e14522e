"""A listener on this machine's loopback whose connections come out at a host."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, cast

__all__ = ["LocalForward"]

_CONNECTIONS_MAX: Final = 64

Dial = Callable[[Callable[[], asyncio.Protocol]], Awaitable[None]]


class _End(asyncio.Protocol):
    """One end of a forwarded connection: what comes here is sent to the other.

    other is set once both ends are connected, or at the far end before, since the near one is.
    """

    here: asyncio.Transport

    def __init__(self, on_lost: Callable[[], None]) -> None:
        self._on_lost: Final = on_lost
        self.other: _End | None = None
        self.has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket's transport, or a channel's."""
        self.here = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        if self.other is not None:
            self.other.here.write(data)

    def eof_received(self) -> bool:
        """Close the other's half, and both once neither says any more."""
        self.has_ended = True
        if self.other is None:
            return False
        if self.other.has_ended:
            self.other.here.close()
            return False
        self.other.here.write_eof()
        return True

    def pause_writing(self) -> None:
        """What cannot be sent is not read over there either."""
        if self.other is not None:
            self.other.here.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        if self.other is not None and not self.other.here.is_closing():
            self.other.here.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """Neither end outlives the other."""
        self._on_lost()
        if self.other is not None:
            # A cut is passed on as one, so that nobody takes half an answer for a whole one.
            (self.other.here.close if exc is None else self.other.here.abort)()


class LocalForward:
    """One open listener; its port is on 127.0.0.1."""

    def __init__(self, dial: Dial) -> None:
        self._dial: Final = dial
        self._server: asyncio.Server | None = None
        self._port = 0
        self._near: Final = set[_End]()
        self._dialling: Final = set[asyncio.Task[None]]()

    async def listen(self) -> None:
        """Begin."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._welcome, "127.0.0.1", 0)
        self._port = int(self._server.sockets[0].getsockname()[1])

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    async def aclose(self) -> None:
        """Stop listening and end the connections through it."""
        if self._server is not None:
            self._server.close()
        dialling = tuple(self._dialling)
        for task in dialling:
            task.cancel()
        await asyncio.gather(*dialling, return_exceptions=True)
        for near in tuple(self._near):
            near.here.abort()

    def _welcome(self) -> asyncio.Protocol:
        return _Near(self._come, self._near)

    def _come(self, near: "_Near") -> None:
        if len(self._near) >= _CONNECTIONS_MAX:
            near.here.abort()
            return
        self._near.add(near)
        # Nothing is taken from a client before there is somebody to give it to.
        near.here.pause_reading()
        task = asyncio.get_running_loop().create_task(self._join(near))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)

    async def _join(self, near: "_Near") -> None:
        far = _End(lambda: None)
        far.other = near
        try:
            await self._dial(lambda: far)
        except OSError:
            near.here.abort()
            return
        near.other = far
        if near.here.is_closing():
            far.here.abort()
        else:
            near.here.resume_reading()


class _Near(_End):
    """The end on this machine; it is counted, and it asks for the other one."""

    def __init__(self, come: Callable[["_Near"], None], counted: set[_End]) -> None:
        super().__init__(lambda: counted.discard(self))
        self._come: Final = come

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has come."""
        super().connection_made(transport)
        self._come(self)
