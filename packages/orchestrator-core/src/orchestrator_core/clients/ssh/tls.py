"""TLS inside of a channel, for daemons that speak nothing else on their host's loopback.

The channel's bytes pass through OpenSSL in memory; who uses a stream reads and writes in turn.
"""

import ssl
from collections.abc import Callable
from typing import Any, Final, TypeVar

import httpcore

__all__ = ["TlsStream", "open_tls", "unproven"]

T = TypeVar("T")

_READ_BYTES: Final = 65_536


def unproven() -> ssl.SSLContext:
    """A context that takes whatever certificate is shown, for who only wants to see it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def open_tls(
    inner: httpcore.AsyncNetworkStream,
    context: ssl.SSLContext,
    server_name: str | None,
    timeout_s: float | None,
) -> "TlsStream":
    """Shake hands over a stream; ConnectError where the peer cannot or must not be spoken to."""
    stream = TlsStream(inner, context, server_name)
    try:
        await stream.shake_hands(timeout_s)
    except ssl.SSLError as error:
        await inner.aclose()
        raise httpcore.ConnectError(str(error)) from error
    except BaseException:
        await inner.aclose()
        raise
    return stream


class TlsStream(httpcore.AsyncNetworkStream):
    """One encrypted connection over another stream."""

    def __init__(
        self,
        inner: httpcore.AsyncNetworkStream,
        context: ssl.SSLContext,
        server_name: str | None,
    ) -> None:
        self._inner: Final = inner
        self._coming: Final = ssl.MemoryBIO()
        self._going: Final = ssl.MemoryBIO()
        self._tls: Final = context.wrap_bio(self._coming, self._going, server_hostname=server_name)

    async def shake_hands(self, timeout_s: float | None) -> None:
        """Agree with the peer on a key, and see that it is the right peer."""
        await self._carry(self._tls.do_handshake, timeout_s)

    def shown(self) -> bytes | None:
        """The certificate of the peer, in DER form."""
        return self._tls.getpeercert(binary_form=True)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Bytes, or none at the end."""
        try:
            return await self._carry(lambda: self._tls.read(max_bytes), timeout)
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            raise httpcore.ReadError(str(error)) from error

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send bytes, no faster than they are taken."""
        if not buffer:
            return
        try:
            await self._carry(lambda: self._tls.write(buffer), timeout)
        except ssl.SSLError as error:
            raise httpcore.WriteError(str(error)) from error

    async def aclose(self) -> None:
        """Close the channel; what it still says is nobody's concern."""
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,  # noqa: ARG002 - the engine's signature.
        server_hostname: str | None = None,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Once is enough."""
        raise httpcore.ConnectError("this connection is encrypted already")

    def get_extra_info(self, info: str) -> Any:
        """What the stream below knows, and what OpenSSL does."""
        return self._tls if info == "ssl_object" else self._inner.get_extra_info(info)

    async def _carry(self, act: Callable[[], T], timeout_s: float | None) -> T:
        """Repeat an act until OpenSSL has had all the bytes that it wants for it."""
        while True:
            try:
                done = act()
            except ssl.SSLWantReadError:
                await self._send(timeout_s)
                data = await self._inner.read(_READ_BYTES, timeout_s)
                if data:
                    self._coming.write(data)
                else:
                    self._coming.write_eof()
            else:
                await self._send(timeout_s)
                return done

    async def _send(self, timeout_s: float | None) -> None:
        going = self._going.read()
        if going:
            await self._inner.write(going, timeout_s)
