"""HTTPS inside of an SSH connection, for daemons that speak nothing else: pinned, and looked at."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from orchestrator_core.clients.pinned import pinned_context
from orchestrator_core.clients.ssh.connection import SshConnection, connect
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.clients.ssh.login import KnownHosts, Login
from orchestrator_core.errors import Refusal
from support.certificates import KEY, SELF_SIGNED, SIGNED
from support.sshd import Sshd, needs_sshd, running_sshd

pytestmark = needs_sshd
BIG = bytes(range(256)) * 8192


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with running_sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
async def host(sshd: Sshd) -> AsyncIterator[SshConnection]:
    login = Login(KnownHosts((sshd.known_hosts,)), client_key=sshd.client_key)
    connection = await connect(Destination("127.0.0.1", port=sshd.port), login)
    assert isinstance(connection, SshConnection), connection
    async with connection:
        yield connection


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer requests with their own bodies until the caller goes."""
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0] or 0)
            body = await reader.readexactly(length)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % length + body)
            await writer.drain()
    writer.transport.abort()


@contextlib.asynccontextmanager
async def daemon(folder: Path, *, encrypted: bool = True) -> AsyncGenerator[int]:
    """Listen like a daemon; the port."""
    pem = folder / "daemon.pem"
    pem.write_text(SELF_SIGNED + KEY, "ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context if encrypted else None)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def trust(certificate: str) -> ssl.SSLContext:
    context = pinned_context(certificate)
    assert not isinstance(context, Refusal)
    return context


async def test_calls_go_to_whom_the_certificate_was_pinned_for(
    host: SshConnection, tmp_path: Path
) -> None:
    async with daemon(tmp_path) as port:
        transport = host.http_transport("127.0.0.1", port, trust=trust(SELF_SIGNED))
        async with httpx.AsyncClient(transport=transport) as client:
            for body in (b"hello", BIG, b"again"):
                answer = await client.post(f"https://127.0.0.1:{port}/", content=body)
                assert answer.content == body


async def test_whoever_shows_another_certificate_hears_nothing(
    host: SshConnection, tmp_path: Path
) -> None:
    async with daemon(tmp_path) as port:
        transport = host.http_transport("127.0.0.1", port, trust=trust(SIGNED))
        async with httpx.AsyncClient(transport=transport) as client:
            with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await client.get(f"https://127.0.0.1:{port}/")


@pytest.mark.parametrize("encrypted", [True, False])
async def test_what_a_port_shows_can_be_looked_at(
    host: SshConnection, tmp_path: Path, *, encrypted: bool
) -> None:
    async with daemon(tmp_path, encrypted=encrypted) as port:
        shown = await host.shown_certificate("127.0.0.1", port, timeout_s=0.5)
    if encrypted:
        assert shown is not None
        assert shown.split() == SELF_SIGNED.split()
    else:
        assert shown is None


async def test_a_port_where_nobody_listens_shows_nothing(host: SshConnection) -> None:
    assert await host.shown_certificate("127.0.0.1", 1) is None
