"""Runs llorch-pool at a host over an open SSH connection: to its end, or with its output caught."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.hosts.versions import host_skew
from orchestrator_core.clients.ssh.remote_calls import DEFAULT_COMMAND, RemoteCall, remote_command
from orchestrator_core.errors import Code, Refusal

if TYPE_CHECKING:
    from orchestrator_core.clients.ssh.connection import SshConnection

__all__ = ["Answer", "ask_host", "command_shown", "run_at_host"]

_CAUGHT_MAX_BYTES: Final = 8 << 20
_ASK_TIMEOUT_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command at a host ended, and what it said."""

    code: int
    out: bytes
    err: bytes

    @property
    def last_line(self) -> str:
        """What it complained about, harmless for a terminal."""
        lines = self.err.decode("utf-8", "replace").strip().splitlines()
        text = lines[-1] if lines else f"it ended with exit code {self.code}"
        return "".join(char if char.isprintable() else " " for char in text)[:500]


def command_shown(entry: HostEntry) -> str:
    """The program that runs there, as a person may be told."""
    return entry.command or "~/.local/share/llorch/current/bin/llorch-pool"


async def run_at_host(
    connection: "SshConnection",
    entry: HostEntry,
    argv: tuple[str, ...],
    env: Mapping[str, str],
    *,
    on_out: Callable[[bytes], None],
    on_err: Callable[[bytes], None],
    stop: asyncio.Event | None = None,
    room: asyncio.Event | None = None,
    any_version: bool = False,
) -> int | Refusal:
    """Run a command there; its bytes pass through, its exit code is the result.

    A llorch-pool that is too old or too new is not asked, unless any_version says so.
    """
    ours = version("llorch-ctl")
    command = remote_command(entry.command) if entry.command else DEFAULT_COMMAND
    if isinstance(command, Refusal):
        return command
    call = RemoteCall(argv, env)
    return await connection.remote_exec(
        command,
        call,
        on_out=on_out,
        on_err=on_err,
        stop=stop,
        room=room,
        judge=None if any_version else lambda theirs: host_skew(ours, theirs, entry.name),
    )


async def ask_host(
    connection: "SshConnection",
    entry: HostEntry,
    argv: tuple[str, ...],
    *,
    timeout_s: float = _ASK_TIMEOUT_S,
) -> Answer | Refusal:
    """Run a short command there, whatever its version, and catch what it says."""
    out, err = _Catch(), _Catch()
    env = {"LLORCH_HOME": entry.home} if entry.home else {}
    try:
        async with asyncio.timeout(timeout_s):
            code = await run_at_host(
                connection, entry, argv, env, on_out=out.take, on_err=err.take, any_version=True
            )
    except TimeoutError:
        line = f"llorch-pool {argv[0]} on {entry.name} did not end within {timeout_s:g} s"
        return Refusal(Code.TIMEOUT, line)
    if isinstance(code, Refusal):
        return code
    return Answer(code, bytes(out.data), bytes(err.data))


class _Catch:
    def __init__(self) -> None:
        self.data = bytearray()

    def take(self, data: bytes) -> None:
        self.data += data[: max(0, _CAUGHT_MAX_BYTES - len(self.data))]
