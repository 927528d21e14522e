"""Runs a script with the host's own sh, its text on stdin, and keeps the beginning of its answer."""

import asyncio
from dataclasses import dataclass
from typing import Final

import asyncssh

from orchestrator_core.clients.ssh.channels import Channel, CommandSession, open_command
from orchestrator_core.clients.ssh.refusals import first_line
from orchestrator_core.errors import Code, Refusal

__all__ = ["ScriptEnd", "run_script"]

_ANSWER_BYTES_MAX: Final = 262_144


@dataclass(frozen=True, slots=True)
class ScriptEnd:
    """How a script ended, and the beginning of what it said."""

    status: int
    out: str
    err: str


class _Kept:
    """The first bytes of a stream."""

    def __init__(self) -> None:
        self._data: Final = bytearray()

    def take(self, data: bytes) -> None:
        self._data.extend(data[: _ANSWER_BYTES_MAX - len(self._data)])

    @property
    def text(self) -> str:
        return self._data.decode("utf-8", "replace")


async def run_script(
    connection: asyncssh.SSHClientConnection, text: str, *, name: str, timeout_s: float
) -> ScriptEnd | Refusal:
    """Run it to its end."""
    out, err = _Kept(), _Kept()
    ended = asyncio.Event()
    session = CommandSession(out.take, err.take, ended.set)
    channel: Channel | None = None
    try:
        async with asyncio.timeout(timeout_s):
            # The user's shell gives way to sh at once; text and data never share one stdin.
            channel = await open_command(connection, "exec sh -s", session)
            channel.write(text.encode("utf-8", "surrogateescape"))
            channel.write_eof()
            await ended.wait()
    except TimeoutError:
        line = f"{name} has not finished a script within {timeout_s:g} s; it may still run there"
        return Refusal(Code.TIMEOUT, line)
    except OSError as error:
        line = f"{name} does not run the script: {first_line(str(error))}"
        return Refusal(Code.UNREACHABLE, line)
    finally:
        if channel is not None:
            channel.abort()
    if session.status is None:
        line = f"the connection to {name} was lost: it is not known whether the script ran"
        return Refusal(Code.UNREACHABLE, line)
    return ScriptEnd(session.status, out.text, err.text)
