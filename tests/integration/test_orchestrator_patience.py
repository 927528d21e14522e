"""Clients that hold a connection and say nothing, little, or too late: nobody else pays for them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import pytest

from support.certificates import tls_files
from support.orchestrator import Orchestrator, chat_body, running_orchestrator
from support.waiting import until

HEAD = b"POST /v2/tasks HTTP/1.1\r\nHost: localhost\r\n"


class Slow:
    """A client that says what it is told to, byte by byte if need be."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def of(cls, site: Orchestrator, said: bytes = b"") -> AsyncGenerator["Slow"]:
        port = int(site.url.rpartition(":")[2])
        before = len(site.server.server_state.connections)
        client = cls(*await asyncio.open_connection("127.0.0.1", port))
        client.writer.write(said)
        connections = site.server.server_state.connections
        await until(lambda: len(connections) > before, what="the connection")
        yield client
        client.writer.close()
        with contextlib.suppress(ConnectionError):
            await client.writer.wait_closed()

    async def rest(self) -> bytes:
        """What comes until the connection closes."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(5):
                return await self.reader.read()
        return b""


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    async with running_orchestrator(tmp_path) as site:
        yield site
        assert site.failures == []


def bearer(key: str) -> bytes:
    return f"Authorization: Bearer {key}\r\n".encode()


def pass_time(site: Orchestrator, *steps_s: float) -> None:
    for step_s in steps_s:
        site.sweep(step_s)


@pytest.mark.parametrize(
    "said", [b"", b"GET /livez HTTP/1.1\r\nHost: local", b"\r\n"], ids=["nothing", "half", "a line"]
)
async def test_a_head_that_does_not_come_is_not_waited_for(site: Orchestrator, said: bytes) -> None:
    async with Slow.of(site, said) as client:
        pass_time(site, 0, 61)
        assert await client.rest() == b""


async def test_a_connection_that_is_kept_is_not_kept_for_ever(site: Orchestrator) -> None:
    async with Slow.of(site, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n") as client:
        assert b"200 OK" in await client.reader.readuntil(b"\r\n\r\n")
        pass_time(site, 0, 30)
        client.writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in (await client.reader.readuntil(b"}") + await client.reader.read(4096))
        pass_time(site, 0, 61)
        await client.rest()
        assert client.reader.at_eof()


@pytest.mark.parametrize("path", [b"/v2/tasks", b"/v1/chat/completions", b"/v2/keys", b"/livez"])
async def test_a_body_that_does_not_come_is_not_waited_for(site: Orchestrator, path: bytes) -> None:
    method = b"GET" if path == b"/livez" else b"POST"
    head = HEAD.replace(b"/v2/tasks", path).replace(b"POST", method) + bearer(site.key)
    async with Slow.of(site, head + b"Content-Length: 50\r\n\r\n{") as client:
        await until(lambda: len(site.server.server_state.tasks), what="the request")
        pass_time(site, 0, 20)
        client.writer.write(b" ")
        await client.writer.drain()
        pass_time(site, 11)
        assert await client.rest() == b""
        await until(lambda: not len(site.server.server_state.tasks), what="the end of it")
    assert len(site.parts.ledger) == 0


async def test_an_open_stream_is_nobodys_slow_request(site: Orchestrator) -> None:
    async with site.chat() as stream:
        job_id = await site.submit()
        async with site.events(job_id) as events:
            await events.next()
            pass_time(site, *[10.0] * 20)
            assert (len(site.parts.open_calls), len(site.parts.readers)) == (1, 1)
        assert stream.response.status_code == 200


async def test_a_key_that_is_revoked_while_the_body_comes_opens_nothing(site: Orchestrator) -> None:
    body = b'{"model":"tiny-chat","prompt":"x","messages":null}'
    for path, rest in (
        (b"/v2/tasks", body),
        (b"/v1/chat/completions", str(chat_body()).replace("'", '"').encode()),
        (b"/v2/keys", b'{"name":"mine","scopes":["admin"]}'),
    ):
        token = await site.make_key("admin")
        holder = site.keys.find(token)
        assert holder is not None
        head = HEAD.replace(b"/v2/tasks", path) + bearer(token)
        head += f"Content-Length: {len(rest)}\r\nConnection: close\r\n\r\n".encode()
        async with Slow.of(site, head + rest[:5]) as client:
            await until(lambda: len(site.server.server_state.tasks), what="the request")
            site.keys.revoke(holder.key_id, site.clock.unix_ms())
            client.writer.write(rest[5:])
            answer = await client.rest()
        assert answer.startswith(b"HTTP/1.1 401"), (path, answer)
        assert (b"invalid_api_key" if path.startswith(b"/v1") else b"BAD_KEY") in answer
    assert len(site.parts.ledger) == 0
    assert [row.name for row in site.keys.rows()].count("mine") == 0


async def test_idle_connections_beyond_the_limit_make_way_for_those_who_ask(
    tmp_path: Path,
) -> None:
    async with (
        running_orchestrator(tmp_path, connections_limit=8) as site,
        contextlib.AsyncExitStack() as stack,
    ):
        idle = [await stack.enter_async_context(Slow.of(site)) for _ in range(7)]
        async with site.chat():
            for _ in range(5):
                assert (await site.client.get("/livez")).status_code == 200
        assert await idle[0].rest() == b""
        assert not idle[-1].reader.at_eof()


async def test_a_handshake_that_stands_still_is_given_up(tmp_path: Path) -> None:
    cert_file, key_file = tls_files(tmp_path / "tls")
    async with running_orchestrator(tmp_path, tls_cert=cert_file, tls_key=key_file) as site:
        port = int(site.url.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01")
        assert (await site.client.get("/livez")).status_code == 200
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
