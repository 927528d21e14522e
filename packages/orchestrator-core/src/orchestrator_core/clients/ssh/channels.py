"""Opens channels so that a caller who gives up leaves none behind, and speaks to one command."""

import asyncio
import signal as signals
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, cast

import asyncssh

__all__ = ["Channel", "CommandSession", "open_channel", "open_command"]

_PAUSES_S: Final = (0.05, 0.1, 0.2, 0.4)


class Channel(Protocol):
    """What all kinds of channels can do, as far as we use it."""

    def write(self, data: bytes) -> None:
        """Send bytes."""
        ...

    def write_eof(self) -> None:
        """Say that no more will come."""
        ...

    def close(self) -> None:
        """Send what is waiting, then close."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...

    def is_closing(self) -> bool:
        """True when nothing can be sent any more."""
        ...

    def pause_reading(self) -> None:
        """Take no more for now."""
        ...

    def resume_reading(self) -> None:
        """Go on."""
        ...

    def get_write_buffer_size(self) -> int:
        """How much waits to be sent."""
        ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Choose when a session is told to pause."""
        ...


class _Opening:
    """One attempt to open a channel, carried to its end whoever waits for it."""

    def __init__(self, attempt: Awaitable[tuple[Any, Any]]) -> None:
        self._attempt: Final = attempt
        self._is_wanted = True
        self._channel: Channel | None = None
        self.done: Final[asyncio.Future[Channel | Exception]] = (
            asyncio.get_running_loop().create_future()
        )

    async def run(self) -> None:
        """Never raises: asyncssh ends the connection over a task of it that fails."""
        try:
            answer, _ = await self._attempt
        except (OSError, asyncssh.Error) as error:
            self._answer(error)
            return
        self._channel = cast("Channel", answer)
        self._answer(self._channel)
        if not self._is_wanted:
            self._channel.abort()

    def _answer(self, answer: "Channel | Exception") -> None:
        if not self.done.done():
            self.done.set_result(answer)

    def give_up(self) -> None:
        """Nobody wants the channel any more."""
        self._is_wanted = False
        if self._channel is not None:
            self._channel.abort()


async def open_channel(
    connection: asyncssh.SSHClientConnection, attempt: Awaitable[tuple[Any, Any]]
) -> Channel:
    """Wait until a channel is open; OSError where it does not open.

    A host opens a channel that nobody waits for any more all the same, and asyncssh would keep it
    for as long as the connection lasts.
    """
    opening = _Opening(attempt)
    connection.create_task(opening.run())
    try:
        answer = await opening.done
    except asyncio.CancelledError:
        opening.give_up()
        raise
    if isinstance(answer, asyncssh.ChannelOpenError):
        raise ConnectionRefusedError(answer.reason)
    if isinstance(answer, asyncssh.Error):
        raise ConnectionResetError(answer.reason)
    if isinstance(answer, Exception):
        raise answer
    return answer


class CommandSession(asyncssh.SSHClientSession[bytes]):
    """One command at the host: tells what it says, and remembers how it ended."""

    def __init__(
        self,
        take: Callable[[bytes], None],
        take_error: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self._take: Final = take
        self._take_error: Final = take_error
        self._on_end: Final = on_end
        self.status: int | None = None
        self.failure: Exception | None = None
        self.writable: Final = asyncio.Event()
        self.writable.set()

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Bytes of stdout or stderr have come; what cannot take them ends the command."""
        try:
            (self._take if datatype is None else self._take_error)(data)
        except Exception as error:  # noqa: BLE001 - asyncssh would end the whole connection.
            self.failure = self.failure or error
            self._on_end()

    def exit_status_received(self, status: int) -> None:
        """The command has ended by itself."""
        self.status = status

    def exit_signal_received(self, signal: str, core_dumped: bool, msg: str, lang: str) -> None:  # noqa: ARG002, FBT001
        """The command was killed."""
        self.status = 128 + int(getattr(signals, f"SIG{signal}", 0))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncssh's.
        """The channel is over: without a status, nobody knows how the command ended."""
        self.writable.set()
        self._on_end()

    def pause_writing(self) -> None:
        """The host takes no more for now."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """It does again."""
        self.writable.set()


async def open_command(
    connection: asyncssh.SSHClientConnection, command: str, session: CommandSession
) -> Channel:
    """Start a command line; no terminal, no variables, nothing forwarded."""
    # Half of its signature has no types.
    create = cast("Callable[..., Awaitable[tuple[Any, Any]]]", connection.create_session)  # pyright: ignore[reportUnknownMemberType]
    for pause_s in _PAUSES_S:
        try:
            return await open_channel(connection, create(lambda: session, command, encoding=None))
        except ConnectionRefusedError:
            # A server counts a session for a moment longer than it lasts.
            await asyncio.sleep(pause_s)
    return await open_channel(connection, create(lambda: session, command, encoding=None))
