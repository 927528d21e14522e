"""One SSH connection to one host, shared by everything that is done there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from orchestrator_core.clients.ssh.channels import open_channel
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.clients.ssh.dialling import DialSession
from orchestrator_core.clients.ssh.entering import Entered, enter
from orchestrator_core.clients.ssh.forward import LocalForward
from orchestrator_core.clients.ssh.login import Login
from orchestrator_core.clients.ssh.refusals import first_line
from orchestrator_core.clients.ssh.remote_calls import RemoteCall
from orchestrator_core.clients.ssh.remote_running import Streams, run_remotely
from orchestrator_core.clients.ssh.scripts import ScriptEnd, run_script
from orchestrator_core.clients.ssh.uploads import Parcel, send_file
from orchestrator_core.errors import Refusal

if TYPE_CHECKING:
    import ssl

    import httpx

__all__ = ["Login", "ScriptEnd", "SshConnection", "connect"]

# A server gives a connection ten sessions (MaxSessions); dialled channels do not count.
_SESSIONS_MAX: Final = 8
_GOODBYE_S: Final = 2.0


async def connect(
    destination: Destination, login: Login, *, name: str | None = None
) -> "SshConnection | Refusal":
    """Log in, or say in one line why not; name is what messages call the host."""
    entered = await enter(destination, login, name=name)
    if isinstance(entered, Refusal):
        return entered
    return SshConnection(destination, login, entered, name=name)


class SshConnection:
    """Everything that is done at one host, over one connection."""

    def __init__(
        self, destination: Destination, login: Login, entered: Entered, *, name: str | None = None
    ) -> None:
        self.destination: Final = destination
        self.name: Final = name or destination.place
        self._login: Final = login
        self._connection: Final = entered.connection
        self._watcher: Final = entered.watcher
        self._jumps: Final = entered.jumps
        self._sessions: Final = asyncio.Semaphore(_SESSIONS_MAX)
        self._ended_here = False

    async def aclose(self) -> None:
        """End the connection in order; a host that does not answer is left."""
        self._ended_here = True
        self._connection.close()
        try:
            async with asyncio.timeout(_GOODBYE_S):
                await self._watcher.closed.wait()
        except TimeoutError:
            self._connection.abort()
        finally:
            self._end_jumps()

    def abort(self) -> None:
        """End the connection at once."""
        self._ended_here = True
        self._connection.abort()
        self._end_jumps()

    async def wait_closed(self) -> str:
        """Wait for the end, and say why it came."""
        await self._watcher.closed.wait()
        self._end_jumps()
        return self._why_over() or f"{self.name} has closed the connection"

    def _why_over(self) -> str | None:
        """Why the connection is over; None while it is open."""
        if self._ended_here:
            return "the connection was closed here"
        if self._watcher.lost is not None:
            return f"the connection to {self.name} is lost: {first_line(str(self._watcher.lost))}"
        if self._watcher.closed.is_set():
            return f"{self.name} has closed the connection"
        return None

    def _end_jumps(self) -> None:
        for jump in reversed(self._jumps):
            jump.abort()

    async def dial(self, make: Callable[[], asyncio.Protocol], host: str, port: int) -> None:
        """Connect a protocol to an address as the host sees it.

        Returns once `connection_made` was called. ConnectionRefusedError where the host does not
        get there, another OSError where the connection to the host is what fails.
        """
        opening = self._connection.create_connection(
            lambda: DialSession(make(), self._why_over), host, port, encoding=None
        )
        try:
            async with asyncio.timeout(self._login.connect_timeout_s):
                await open_channel(self._connection, opening)
        except ConnectionRefusedError as error:
            # asyncssh words a connection that ends meanwhile like a port that refuses.
            if (why := self._why_over()) is not None:
                raise ConnectionResetError(why) from error
            raise

    async def script(self, text: str, *, timeout_s: float = 30.0) -> ScriptEnd | Refusal:
        """Run a script with the host's sh, and keep the beginning of what it says."""
        async with self._sessions:
            return await run_script(self._connection, text, name=self.name, timeout_s=timeout_s)

    async def remote_exec(
        self,
        command: str,
        call: RemoteCall,
        *,
        on_out: Callable[[bytes], None],
        on_err: Callable[[bytes], None],
        stdin: AsyncIterator[bytes] | None = None,
        stop: asyncio.Event | None = None,
        room: asyncio.Event | None = None,
        judge: Callable[[str], Refusal | None] | None = None,
    ) -> int | Refusal:
        """Run llorch-pool at the host and return its exit code.

        judge is told the version of llorch-pool there before anything is asked of it.
        command is what `remote_command` made, or DEFAULT_COMMAND. Setting stop interrupts what
        runs there as Ctrl-C would; it is cleared, and set once more it kills. While room is
        cleared the host is made to wait with what it says.
        """
        streams = Streams(on_out, on_err, stdin, stop, room, judge)
        async with self._sessions:
            return await run_remotely(self._connection, command, call, streams, name=self.name)

    async def upload(
        self,
        source: Path,
        target: str,
        *,
        tell: Callable[[int], None] | None = None,
        mode: int = 0o644,
    ) -> Refusal | None:
        """Copy a file to the host; it has its name there only when it is whole.

        It travels over a connection of its own, so that streams do not wait behind it.
        """
        entered = await enter(self.destination, self._login, name=self.name)
        if isinstance(entered, Refusal):
            return entered
        try:
            parcel = Parcel(source, target, mode, tell)
            return await send_file(entered.connection, parcel, name=self.name)
        finally:
            for connection in (entered.connection, *reversed(entered.jumps)):
                connection.abort()

    async def forward(self, host: str, port: int) -> LocalForward:
        """Listen on this machine's loopback for an address as the host sees it."""
        forward = LocalForward(lambda make: self.dial(make, host, port))
        await forward.listen()
        return forward

    def http_transport(
        self, host: str, port: int, *, trust: "ssl.SSLContext | None" = None
    ) -> "httpx.AsyncBaseTransport":
        """What lets httpx speak to an address as the host sees it; trust is for https://."""
        from orchestrator_core.clients.ssh.http import ChannelHttpTransport

        return ChannelHttpTransport(lambda make: self.dial(make, host, port), trust)

    async def shown_certificate(
        self, host: str, port: int, *, timeout_s: float = 5.0
    ) -> str | None:
        """The certificate that an address at the host shows; None where nobody speaks TLS."""
        from orchestrator_core.clients.ssh.http import shown_certificate

        return await shown_certificate(
            lambda make: self.dial(make, host, port), timeout_s=timeout_s
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
