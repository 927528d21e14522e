"""Runs llorch-pool at a host through `remote-exec`: frames out, frames in, its exit code back."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Final

import asyncssh

from orchestrator_core.clients.ssh.channels import Channel, CommandSession, open_command
from orchestrator_core.clients.ssh.refusals import first_line
from orchestrator_core.clients.ssh.remote_calls import RemoteCall
from orchestrator_core.errors import Code, DataError, Refusal
from orchestrator_core.stream.remote_frames import (
    LEASE_S,
    RENEWAL_S,
    STDIN_BYTES_AHEAD,
    FrameReader,
    Kind,
    MagicFinder,
    frame,
    frames_of,
    number_of,
    request_body,
)

__all__ = ["Streams", "run_remotely"]

# A login shell that reads much on a slow disk, and a Python that starts there.
_MAGIC_TIMEOUT_S: Final = 10.0
# The version comes in one piece with the magic, unless a read ended in between.
_HELLO_TIMEOUT_S: Final = 3.0
_NOT_FOUND: Final = (126, 127)
_USAGE: Final = 2


@dataclass(frozen=True, slots=True)
class Streams:
    """Where the output goes, where the input comes from, and what interrupts."""

    on_out: Callable[[bytes], None]
    on_err: Callable[[bytes], None]
    stdin: AsyncIterator[bytes] | None = None
    stop: asyncio.Event | None = None
    room: asyncio.Event | None = None
    """Set as long as output is welcome."""
    judge: Callable[[str], Refusal | None] | None = None
    """Says of the version there why nothing shall be asked of it."""


async def run_remotely(
    connection: asyncssh.SSHClientConnection,
    command: str,
    call: RemoteCall,
    streams: Streams,
    *,
    name: str,
) -> int | Refusal:
    """Run one call to its end; being cancelled ends it at the host as well."""
    body = request_body(call)
    if isinstance(body, Refusal):
        return body
    run = _Run(name, streams)
    try:
        async with asyncio.timeout(_MAGIC_TIMEOUT_S) as patience:
            run.channel = await open_command(connection, command, run.session)
            await run.spoke.wait()
            patience.reschedule(asyncio.get_running_loop().time() + _HELLO_TIMEOUT_S)
            await run.greeted.wait()
            patience.reschedule(None)
            if run.is_willing:
                run.is_asked = True
                run.send(frame(Kind.REQUEST, body))
                await _attend(run)
    except TimeoutError:
        return _no_magic(run)
    except OSError as error:
        line = f"{name} does not run the command: {first_line(str(error))}"
        return Refusal(Code.UNREACHABLE, line)
    finally:
        if run.channel is not None:
            # The end of its stdin ends what still runs there.
            run.channel.close()
    return run.outcome()


@dataclass(slots=True)
class _Run:
    """One call under way."""

    name: str
    streams: Streams
    session: CommandSession = field(init=False)
    channel: Channel | None = None
    finder: MagicFinder = field(default_factory=MagicFinder)
    reader: FrameReader = field(default_factory=FrameReader)
    spoke: asyncio.Event = field(default_factory=asyncio.Event)
    greeted: asyncio.Event = field(default_factory=asyncio.Event)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    is_asked: bool = False
    over: asyncio.Event = field(default_factory=asyncio.Event)
    stdin_ahead_bytes: int = 0
    stdin_room: asyncio.Event = field(default_factory=asyncio.Event)
    exit_code: int | None = None
    spoken: bytes = b""
    refusal: Refusal | None = None

    def __post_init__(self) -> None:
        self.session = CommandSession(self._take, self._take_error, self._end)
        self.stdin_room.set()

    @property
    def is_willing(self) -> bool:
        """True when llorch-pool there may be asked."""
        return self.finder.found and self.session.failure is None and self.refusal is None

    def send(self, data: bytes) -> None:
        """Send a frame, unless the channel is over."""
        if self.channel is not None and not self.channel.is_closing():
            self.channel.write(data)

    def _take(self, data: bytes) -> None:
        rest = self.finder.feed(data)
        if not self.finder.found:
            return
        self.spoke.set()
        for kind, body in self.reader.feed(rest):
            self._obey(kind, body)
        room = self.streams.room
        if room is not None and not room.is_set() and self.channel is not None:
            self.channel.pause_reading()
            self.held.set()

    def _take_error(self, data: bytes) -> None:
        # Only a shell or an interpreter that cannot start speaks here; frames carry the rest.
        self.spoken += data[: 4096 - len(self.spoken)]

    def _end(self) -> None:
        self.spoke.set()
        self.greeted.set()
        self.over.set()

    def _obey(self, kind: Kind, body: bytes) -> None:
        if kind is Kind.HELLO:
            if self.streams.judge is not None:
                self.refusal = self.streams.judge(first_line(body.decode("ascii", "replace")))
            self.greeted.set()
        elif not self.is_asked:
            line = "it answers before it is asked"
            raise DataError(Refusal(Code.DATA_CORRUPT, line))
        elif kind is Kind.STDOUT:
            self.streams.on_out(body)
        elif kind is Kind.STDERR:
            self.streams.on_err(body)
        elif kind is Kind.STDIN_TAKEN:
            self.stdin_ahead_bytes -= number_of(body)
            if self.stdin_ahead_bytes < STDIN_BYTES_AHEAD:
                self.stdin_room.set()
        elif kind is Kind.EXIT:
            self.exit_code = number_of(body)
            self.over.set()

    def outcome(self) -> int | Refusal:
        """What became of it."""
        failure = self.session.failure
        if isinstance(failure, DataError):
            line = f"what answers at {self.name} is no llorch-pool: {failure.refusal.message}"
            return Refusal(Code.DATA_CORRUPT, line)
        if failure is not None:
            raise failure
        if self.refusal is not None:
            return self.refusal
        if self.exit_code is not None:
            return self.exit_code
        if not self.finder.found:
            return _not_started(self)
        if self.session.status is not None:
            line = (
                f"llorch-pool was ended at {self.name} (exit {self.session.status}): "
                "it is not known how far the command came"
            )
            return Refusal(Code.UNREACHABLE, line)
        line = f"the connection to {self.name} was lost: it is not known whether the command ran"
        return Refusal(Code.UNREACHABLE, line)


async def _attend(run: _Run) -> None:
    """Renew the lease, feed stdin and pass interrupts on until the end is known."""
    async with asyncio.TaskGroup() as tasks:
        aides = [tasks.create_task(_renew(run))]
        if run.streams.room is not None:
            aides.append(tasks.create_task(_let_on(run, run.streams.room)))
        if run.streams.stdin is not None:
            aides.append(tasks.create_task(_feed(run, run.streams.stdin)))
        else:
            run.send(frame(Kind.STDIN_END))
        if run.streams.stop is not None:
            aides.append(tasks.create_task(_interrupt(run, run.streams.stop)))
        await run.over.wait()
        for aide in aides:
            aide.cancel()


async def _renew(run: _Run) -> None:
    while True:
        await asyncio.sleep(RENEWAL_S)
        run.send(frame(Kind.RENEWAL))


async def _let_on(run: _Run, room: asyncio.Event) -> None:
    while run.channel is not None:
        await run.held.wait()
        await room.wait()
        run.held.clear()
        run.channel.resume_reading()


async def _feed(run: _Run, stdin: AsyncIterator[bytes]) -> None:
    async for data in stdin:
        for piece in frames_of(Kind.STDIN, data):
            await run.stdin_room.wait()
            await run.session.writable.wait()
            run.stdin_ahead_bytes += len(piece) - len(frame(Kind.STDIN))
            if run.stdin_ahead_bytes >= STDIN_BYTES_AHEAD:
                run.stdin_room.clear()
            run.send(piece)
    run.send(frame(Kind.STDIN_END))


async def _interrupt(run: _Run, stop: asyncio.Event) -> None:
    """The first interrupt asks, the second kills; a host that answers neither is let go."""
    for number in (signal.SIGINT, signal.SIGKILL):
        await stop.wait()
        stop.clear()
        run.send(frame(Kind.SIGNAL, b"%d" % number))
    await asyncio.sleep(LEASE_S / 4)
    run.over.set()


def _no_magic(run: _Run) -> Refusal:
    if run.finder.found:
        return _too_old(run)
    said = _said(run)
    line = f"llorch-pool at {run.name} has not answered within {_MAGIC_TIMEOUT_S:g} s"
    if said:
        line += (
            f"; its shell said: {said}: a start file there (.bashrc, .zshenv, config.fish) "
            "reads the input or starts another program: let it do so in terminals only"
        )
    else:
        line += ": is it overloaded, or does a start file of its shell wait for something?"
    return Refusal(Code.TIMEOUT, line)


def _not_started(run: _Run) -> Refusal:
    said = _said(run)
    details = {"status": run.session.status, "said": said}
    if run.session.status in _NOT_FOUND:
        line = f"there is no llorch-pool at {run.name} ({said}): llorch host add {run.name}"
        return Refusal(Code.NOT_FOUND, line, details)
    if run.session.status == _USAGE and "remote-exec" in said:
        return _too_old(run)
    if run.session.status is None:
        line = f"the connection to {run.name} was lost before the command began: try again"
        return Refusal(Code.UNREACHABLE, line, details)
    if not said:
        said = "is it killed, or does a start file of its shell (.bashrc, .zshenv) leave early?"
    line = f"llorch-pool does not start at {run.name} (exit {run.session.status}): {said}"
    return Refusal(Code.INTERNAL, line, details)


def _too_old(run: _Run) -> Refusal:
    line = f"llorch-pool at {run.name} is too old for this: llorch host upgrade {run.name}"
    return Refusal(Code.VERSION_SKEW, line)


def _said(run: _Run) -> str:
    said = run.spoken or run.finder.end()
    lines = said.decode("utf-8", "replace").strip().splitlines()
    return first_line(lines[-1]) if lines else ""
