"""Lets httpx speak to a server at a host: its connections are channels of an SSH connection."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

import httpcore
import httpx

from orchestrator_core.clients.ssh.tls import open_tls, unproven

__all__ = ["ChannelHttpTransport", "shown_certificate"]

# Servers close idle connections after 5 s: keeping ours shorter avoids writing into a closed one.
_KEPT_S: Final = 2.0
_CONNECTIONS_MAX: Final = 32
_READ_BYTES: Final = 65_536

Dial = Callable[[Callable[[], asyncio.Protocol]], Awaitable[None]]

# What callers of httpx catch, by what its engine raises; the first that fits counts.
_MEANINGS: Final[Mapping[type[Exception], type[httpx.TransportError]]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.NetworkError: httpx.NetworkError,
    httpcore.TimeoutException: httpx.TimeoutException,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
}


class ChannelHttpTransport(httpx.AsyncBaseTransport):
    """Speaks HTTP to one address at a host, whatever host a URL names; https:// wants a trust."""

    def __init__(self, dial: Dial, trust: ssl.SSLContext | None = None) -> None:
        self._pool: Final = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=_CONNECTIONS_MAX,
            max_keepalive_connections=_CONNECTIONS_MAX,
            keepalive_expiry=_KEPT_S,
            network_backend=_Backend(dial),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Make one call."""
        inner = httpcore.Request(
            method=request.method,
            url=httpcore.URL(
                scheme=request.url.raw_scheme,
                host=request.url.raw_host,
                port=request.url.port,
                target=request.url.raw_path,
            ),
            headers=request.headers.raw,
            content=cast("AsyncIterator[bytes]", request.stream),
            extensions=request.extensions,
        )
        with _as_httpx(request):
            answer = await self._pool.handle_async_request(inner)
        return httpx.Response(
            status_code=answer.status,
            headers=answer.headers,
            stream=_Body(cast("AsyncIterator[bytes]", answer.stream), request),
            extensions=cast("dict[str, Any]", answer.extensions),
        )

    async def aclose(self) -> None:
        """Close all channels."""
        await self._pool.aclose()


async def shown_certificate(dial: Dial, *, timeout_s: float) -> str | None:
    """The certificate in PEM form that an address shows; None where nobody speaks TLS."""
    try:
        stream = await _Backend(dial).connect_tcp("", 0, timeout_s)
        found = await open_tls(stream, unproven(), None, timeout_s)
    except (httpcore.NetworkError, httpcore.TimeoutException):
        return None
    shown = found.shown()
    await found.aclose()
    return None if shown is None else ssl.DER_cert_to_PEM_cert(shown)


class _Body(httpx.AsyncByteStream):
    """The body of an answer."""

    def __init__(self, stream: AsyncIterator[bytes], request: httpx.Request) -> None:
        self._stream: Final = stream
        self._request: Final = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx(self._request):
            async for piece in self._stream:
                yield piece

    async def aclose(self) -> None:
        """Give the connection back, or close it."""
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


@contextmanager
def _as_httpx(request: httpx.Request) -> Generator[None]:
    try:
        yield
    except tuple(_MEANINGS) as error:
        kind = next(_MEANINGS[it] for it in _MEANINGS if isinstance(error, it))
        raise kind(str(error), request=request) from error


class _Backend(httpcore.AsyncNetworkBackend):
    """Opens channels where httpx would open sockets."""

    def __init__(self, dial: Dial) -> None:
        self._dial: Final = dial

    async def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - the address was chosen with the transport.
        port: int,  # noqa: ARG002
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Open one channel."""
        wire = _Wire()
        try:
            async with asyncio.timeout(timeout):
                await self._dial(lambda: wire)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        return _Stream(wire)

    async def sleep(self, seconds: float) -> None:
        """Wait between tries."""
        await asyncio.sleep(seconds)


class _Wire(asyncio.StreamReaderProtocol):
    """A channel as a pair of streams."""

    writer: asyncio.StreamWriter

    def __init__(self) -> None:
        self.loop: Final = asyncio.get_running_loop()
        self.reader: Final = asyncio.StreamReader(loop=self.loop)
        super().__init__(self.reader, loop=self.loop)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The channel is open."""
        super().connection_made(transport)
        whole = cast("asyncio.Transport", transport)
        self.writer = asyncio.StreamWriter(whole, self, self.reader, self.loop)


class _Stream(httpcore.AsyncNetworkStream):
    """What httpx's engine reads from and writes to."""

    def __init__(self, wire: _Wire) -> None:
        self._reader: Final = wire.reader
        self._writer: Final = wire.writer

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Bytes, or none at the end."""
        try:
            async with asyncio.timeout(timeout):
                return await self._reader.read(min(max_bytes, _READ_BYTES))
        except TimeoutError as error:
            raise httpcore.ReadTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes, no faster than they are taken."""
        if not buffer:
            return
        try:
            async with asyncio.timeout(timeout):
                self._writer.write(buffer)
                await self._writer.drain()
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        """Close the channel; what it still says is nobody's concern."""
        self._writer.transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Encrypt once more: the daemon there speaks nothing else."""
        return await open_tls(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        """Tell whether a kept channel was closed over there, so that it is not used again."""
        if info == "is_readable":
            return self._reader.at_eof() or self._writer.is_closing()
        return None
