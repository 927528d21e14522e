"""Carries one verb to one host and brings its output and its exit code back.

The ways are tried in the order of the plan; which one it was is said with --verbose.
"""

import asyncio
import io
import json
import os
import select
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO, Final, TextIO, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

import click

from llorch_ctl.commands.pool.interrupts import Interrupts
from llorch_ctl.commands.pool.words import Words
from llorch_ctl.hosts import nearby
from llorch_ctl.hosts.entries import HostEntry
from llorch_ctl.hosts.outlet import Outlet
from llorch_ctl.hosts.plan import Errand, Via, Way, plan_ways
from llorch_ctl.hosts.remote import ask_host, command_shown, run_at_host
from llorch_ctl.hosts.terminal import told_env
from llorch_ctl.hosts.ways import open_ssh
from llorch_ctl.settings import CliSettings
from orchestrator_core.errors import Code, Exit, Refusal, error_for

if TYPE_CHECKING:
    from orchestrator_core.clients.ssh.connection import SshConnection

__all__ = ["forward"]

T = TypeVar("T")
Say: TypeAlias = Callable[[str], None]

_PORTS: Final = {"http": 80, "https": 443}


def forward(
    settings: CliSettings, entry: HostEntry, verb: str, words: Words, *, needs_ssh: bool
) -> int:
    """Run `llorch-pool VERB ...` for a host; the exit code is that of the command."""
    via = words.via or Via.AUTO
    # LLORCH_API_KEY mostly opens an orchestrator: it must not be told to whatever host is named.
    has_key = entry.key_file is not None
    errand = Errand(_named(verb, words.rest), needs_ssh, _names_url(words.rest), has_key)
    ways = plan_ways(entry, errand, via)
    if isinstance(ways, Refusal):
        if ways.code is Code.INVALID_REQUEST and via is Via.HTTP:
            raise click.UsageError(ways.message)
        raise error_for(ways)
    trip = _Trip(settings, entry, (verb, *words.rest), _voice(words))
    return asyncio.run(trip.go(ways))


class _Trip:
    """One command on its way to one host."""

    def __init__(
        self, settings: CliSettings, entry: HostEntry, argv: tuple[str, ...], say: Say
    ) -> None:
        self._settings = settings
        self._entry = entry
        self._argv = argv
        self._say = say
        self._connection: SshConnection | None = None

    async def go(self, ways: Sequence[Way]) -> int:
        """Try the ways in their order; only the last one may fail for good."""
        carriers = {Way.HTTP: self._by_http, Way.TUNNEL: self._by_tunnel, Way.SSH: self._by_ssh}
        try:
            for way in ways[:-1]:
                done = await carriers[way](spare=True)
                if isinstance(done, int):
                    return done
                self._say(f"not by {way.value}: {done.message}")
            return _sound(await carriers[ways[-1]](spare=False))
        finally:
            if self._connection is not None:
                await self._connection.aclose()

    async def _by_http(self, *, spare: bool) -> int | Refusal:
        """Ask the daemon by its address; where there is another way, only if it answers."""
        url = str(self._entry.url)
        if spare:
            parts = urlsplit(url)
            port = parts.port or _PORTS[parts.scheme]
            reason = await nearby.answers(str(parts.hostname), port)
            if reason is not None:
                return Refusal(Code.UNREACHABLE, f"{url}: {reason}")
        return await self._here(url, f"http {url}")

    async def _by_tunnel(self, *, spare: bool) -> int | Refusal:
        """Ask the daemon on the host's own loopback, through the SSH connection."""
        del spare
        connection = await self._connect()
        if isinstance(connection, Refusal):
            return connection
        url = await self._daemon_url(connection)
        if isinstance(url, Refusal):
            return url
        parts = urlsplit(url)
        host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
        tunnel = await connection.forward(host, port)
        try:
            place = f"{host}:{port} on {self._entry.name}"
            near = f"{parts.scheme}://127.0.0.1:{tunnel.port}"
            return await self._here(near, f"tunnel to {place} through ssh {self._entry.ssh}")
        finally:
            await tunnel.aclose()

    async def _by_ssh(self, *, spare: bool) -> int | Refusal:
        """Run llorch-pool there."""
        del spare
        connection = await self._connect()
        if isinstance(connection, Refusal):
            return connection
        self._say(f"ssh {self._entry.ssh} -> {command_shown(self._entry)}")
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        env = told_env(self._settings.env, columns=columns, home=self._entry.home)
        with Interrupts(self._entry.name) as interrupts:
            work = self._run(connection, env, interrupts.stop)
            code = await interrupts.unless_left(work)
        if code is None:
            connection.abort()
            return Exit.INTERRUPTED
        # A command that a signal has ended is told as a shell tells it.
        return 128 - code if isinstance(code, int) and code < 0 else code

    async def _run(
        self, connection: "SshConnection", env: Mapping[str, str], stop: asyncio.Event
    ) -> int | Refusal:
        room = asyncio.Event()
        room.set()
        outlets = [
            Outlet(_writing(stream), room=room, broken=stop.set)
            for stream in (sys.stdout, sys.stderr)
        ]
        to_out, to_err = outlets

        def on_err(data: bytes) -> None:
            # Who reads no more has ended the command, and need not hear how it takes that.
            if to_out.error is None:
                to_err.put(data)

        code = await run_at_host(
            connection,
            self._entry,
            self._argv,
            env,
            on_out=to_out.put,
            on_err=on_err,
            stop=stop,
            room=room,
        )
        for outlet in outlets:
            await outlet.finish()
        if to_out.error is not None:
            raise to_out.error
        return code

    async def _here(self, url: str, way: str) -> int | Refusal:
        program = nearby.find_llorch_pool(self._settings.env)
        if isinstance(program, Refusal):
            return program
        if self._entry.key_file is None:
            raise AssertionError("no way by HTTP is planned without a key")
        key = nearby.read_key(self._entry.key_file)
        if isinstance(key, Refusal):
            return key
        self._say(way)
        env = nearby.http_env(self._settings.env, url=url, key=key, ca=self._entry.ca)
        return await nearby.run_here(program, self._argv, env)

    async def _connect(self) -> "SshConnection | Refusal":
        if self._connection is None:
            opened = await open_ssh(self._settings, self._entry)
            if isinstance(opened, Refusal):
                return opened
            self._connection = opened
        return self._connection

    async def _daemon_url(self, connection: "SshConnection") -> str | Refusal:
        argv = ("daemon", "status", "--format", "json", "--quiet")
        answer = await ask_host(connection, self._entry, argv)
        if isinstance(answer, Refusal):
            return answer
        url = _url_in(answer.out)
        if url is None:
            line = (
                f"pool-managerd does not run on {self._entry.name}: "
                f"llorch pool daemon start --host {self._entry.name} starts it"
            )
            return Refusal(Code.UNREACHABLE, line)
        return url


def _url_in(out: bytes) -> str | None:
    try:
        told: object = json.loads(out)
    except ValueError:
        return None
    url = cast("dict[str, object]", told).get("url") if isinstance(told, dict) else None
    return url if isinstance(url, str) and urlsplit(url).hostname else None


def _named(verb: str, rest: Sequence[str]) -> str:
    part = rest[0] if rest and not rest[0].startswith("-") else ""
    return f"{verb} {part}".strip() if part.isidentifier() else verb


def _names_url(rest: Sequence[str]) -> bool:
    ours = rest[: rest.index("--")] if "--" in rest else rest
    return any(word == "--url" or word.startswith("--url=") for word in ours)


def _writing(stream: TextIO) -> Callable[[bytes], None]:
    """Write past Python's buffer, whose lock a stalled reader would keep to the very end."""
    stream.flush()
    try:
        fd = stream.fileno()
    except io.UnsupportedOperation:
        return _buffered(stream.buffer)

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            try:
                rest = rest[os.write(fd, rest) :]
            except BlockingIOError:
                # Whoever started us may have made a pipe of ours one that does not wait.
                select.select([], [fd], [])

    return write


def _buffered(stream: BinaryIO) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        stream.write(data)
        stream.flush()

    return write


def _voice(words: Words) -> Say:
    def say(text: str) -> None:
        if words.verbose:
            click.echo(text, err=True)

    return say


def _sound(found: T | Refusal) -> T:
    if isinstance(found, Refusal):
        raise error_for(found)
    return found
