"""Lets a plain asyncio protocol run over a channel of an SSH connection.

Nothing here waits or starts a task per chunk. A protocol that fails ends its own channel, never
the connection that it shares with others.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

import asyncssh

from orchestrator_core.clients.ssh.channels import Channel

__all__ = ["ChannelTransport", "DialSession"]


class ChannelTransport(asyncio.Transport):
    """One channel, as protocols know transports; its socket is nobody's."""

    def __init__(self, channel: Channel, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._channel: Final = channel
        self._protocol: asyncio.BaseProtocol = protocol
        self._reading = True
        self.closed_here = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes; those that come too late are dropped, as sockets do."""
        if not self._channel.is_closing():
            self._channel.write(data if type(data) is bytes else bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send all of them as one."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Say that no more will come from here."""
        if not self._channel.is_closing():
            self._channel.write_eof()

    def can_write_eof(self) -> bool:
        """A channel has two halves."""
        return True

    def close(self) -> None:
        """Send what is waiting, then close."""
        self.closed_here = True
        self._channel.close()

    def abort(self) -> None:
        """Close at once."""
        self.closed_here = True
        self._channel.abort()

    def is_closing(self) -> bool:
        """True from the moment at which nothing can be sent any more."""
        return self._channel.is_closing()

    def pause_reading(self) -> None:
        """Take no more until told otherwise; the window stops the other side."""
        self._reading = False
        self._channel.pause_reading()

    def resume_reading(self) -> None:
        """Go on."""
        self._reading = True
        self._channel.resume_reading()

    def is_reading(self) -> bool:
        """False while reading is paused or over."""
        return self._reading and not self._channel.is_closing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Choose when the protocol is told to pause."""
        self._channel.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """How much waits to be sent."""
        return self._channel.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ARG002
        """Nothing: what asyncssh knows is about the connection that all channels share."""
        return default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the channel on to another protocol."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is told what comes."""
        return self._protocol


class DialSession(asyncssh.SSHTCPSession[bytes]):
    """Tells a protocol what happens on its channel; why says how the connection has ended."""

    def __init__(self, protocol: asyncio.Protocol, why: Callable[[], str | None]) -> None:
        self._protocol = protocol
        self._why = why
        self._transport: ChannelTransport | None = None
        self._failure: Exception | None = None
        self._has_ended = False

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        """The channel is there, but nothing may be sent yet."""
        self._transport = ChannelTransport(cast("Channel", chan), self._protocol)

    def session_started(self) -> None:
        """Now it may."""
        if self._transport is None:
            return
        try:
            self._protocol.connection_made(self._transport)
        except Exception as error:  # noqa: BLE001 - see _fail.
            self._fail(error)

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:  # noqa: ARG002
        """Bytes have come."""
        try:
            self._protocol.data_received(data)
        except Exception as error:  # noqa: BLE001 - see _fail.
            self._fail(error)

    def eof_received(self) -> bool:
        """No more will come."""
        self._has_ended = True
        try:
            return bool(self._protocol.eof_received())
        except Exception as error:  # noqa: BLE001 - see _fail.
            self._fail(error)
            return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is over."""
        lost = self._failure
        if lost is None and not (self._transport and self._transport.closed_here):
            why = self._why() or (str(exc) if exc else None)
            if why is not None or not self._has_ended:
                lost = ConnectionResetError(why or "the host closed the channel")
        self._protocol.connection_lost(lost)

    def pause_writing(self) -> None:
        """More waits to be sent than is good."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Most of it has gone."""
        self._protocol.resume_writing()

    def _fail(self, error: Exception) -> None:
        # asyncssh ends the whole connection over an error of a session, and with it everything
        # that others do there; a socket's transport ends itself alone, and so do we.
        if self._failure is not None or self._transport is None:
            return
        self._failure = error
        asyncio.get_running_loop().call_exception_handler(
            {
                "message": "a protocol on an SSH channel failed",
                "exception": error,
                "protocol": self._protocol,
                "transport": self._transport,
            }
        )
        self._transport.abort()
