"""What runs through one SSH connection: protocols, HTTP and listeners, and how they hear of its end."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from orchestrator_core.clients.ssh.connection import SshConnection, connect
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.clients.ssh.login import KnownHosts, Login
from support.sshd import Sshd, needs_sshd, running_sshd
from support.waiting import until

pytestmark = needs_sshd
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
BIG = 8_000_000


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[Sshd]:
    with running_sshd(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
async def host(sshd: Sshd) -> AsyncIterator[SshConnection]:
    login = Login(
        KnownHosts((sshd.known_hosts,)),
        client_key=sshd.client_key,
        keepalive_interval_s=0.2,
        keepalive_count=2,
    )
    connection = await connect(Destination("127.0.0.1", port=sshd.port), login)
    assert isinstance(connection, SshConnection), connection
    yield connection
    connection.abort()
    await connection.wait_closed()


class Ear(asyncio.Protocol):
    """Remembers what a protocol is told."""

    def __init__(self) -> None:
        self.data = b""
        self.told: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None
        self.heard = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        self.data += data
        self.heard.set()

    def eof_received(self) -> bool:
        self.told.append("eof")
        return False

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.told.append("lost")
        self.lost.set_result(exc)


class Broken(Ear):
    """A protocol with a defect."""

    def data_received(self, data: bytes) -> None:
        raise ZeroDivisionError


@contextlib.asynccontextmanager
async def served(serve: Serve) -> AsyncGenerator[int]:
    writers: list[asyncio.StreamWriter] = []

    async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    server = await asyncio.start_server(welcome, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def talk(host: SshConnection, port: int, ear: Ear) -> asyncio.Transport:
    await host.dial(lambda: ear, "127.0.0.1", port)
    assert ear.told == ["made"]
    assert ear.transport is not None
    return ear.transport


async def test_a_protocol_speaks_and_hears_as_over_a_socket(host: SshConnection) -> None:
    async with served(echo) as port:
        ear = Ear()
        transport = await talk(host, port, ear)
        assert transport.get_extra_info("socket") is None
        transport.write(b"one ")
        transport.write(bytearray(b"two "))
        transport.writelines([b"three", b" ", memoryview(b"four")])
        await until(lambda: ear.data == b"one two three four", what="the echo")
        transport.write_eof()
        assert await ear.lost is None
        assert ear.told == ["made", "eof", "lost"]
        assert transport.is_closing()
        transport.write(b"too late")


async def test_closing_here_is_no_error(host: SshConnection) -> None:
    async with served(echo) as port:
        for end in ("close", "abort"):
            ear = Ear()
            transport = await talk(host, port, ear)
            getattr(transport, end)()
            assert await ear.lost is None


async def test_a_reader_that_stops_stops_the_host(host: SshConnection) -> None:
    sent = asyncio.Event()

    async def pour(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x" * BIG)
        await writer.drain()
        sent.set()
        writer.close()

    async with served(pour) as port:
        ear, other = Ear(), Ear()
        transport = await talk(host, port, ear)
        transport.pause_reading()
        async with served(echo) as second:
            (await talk(host, second, other)).write(b"others go on")
            await until(lambda: other.data == b"others go on", what="the other channel")
        assert len(ear.data) < BIG
        transport.resume_reading()
        assert await ear.lost is None
        assert len(ear.data) == BIG
        assert sent.is_set()


async def test_a_host_that_stops_reading_stops_the_writer(host: SshConnection) -> None:
    go_on = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go_on.wait()
        writer.write(b"%d" % len(await reader.read(-1)))
        writer.close()

    async with served(stall) as port:
        ear = Ear()
        transport = await talk(host, port, ear)
        transport.write(b"x" * BIG)
        await until(lambda: "pause" in ear.told, what="the pause")
        assert transport.get_write_buffer_size() > 0
        transport.write_eof()
        go_on.set()
        await ear.lost
        assert ear.data == b"%d" % BIG
        assert ear.told.index("resume") > ear.told.index("pause")


async def test_a_port_where_nobody_listens_is_an_error_of_the_system(host: SshConnection) -> None:
    with pytest.raises(ConnectionRefusedError):
        await host.dial(Ear, "127.0.0.1", 1)


async def test_a_dial_that_loses_its_connection_is_not_refused_by_the_port(
    host: SshConnection, sshd: Sshd
) -> None:
    sshd.stop()
    try:
        dialling = asyncio.ensure_future(host.dial(asyncio.Protocol, "127.0.0.1", 1))
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionResetError):
                await dialling
    finally:
        sshd.resume()


async def test_a_protocol_with_a_defect_ends_alone(host: SshConnection) -> None:
    reports: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    async with served(echo) as port:
        broken, sound = Broken(), Ear()
        other = await talk(host, port, sound)
        (await talk(host, port, broken)).write(b"x")
        assert isinstance(await broken.lost, ZeroDivisionError)
        other.write(b"still here")
        await until(lambda: sound.data == b"still here", what="the other channel")
    assert len(reports) == 1


async def test_a_dial_that_is_given_up_leaves_no_channel(host: SshConnection, sshd: Sshd) -> None:
    come: list[asyncio.StreamReader] = []
    gone = asyncio.Event()

    async def wait_for_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        come.append(reader)
        await reader.read(-1)
        writer.close()
        gone.set()

    async with served(wait_for_end) as port:
        for pid in sshd.session_pids():
            sshd.pause(pid)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await host.dial(Ear, "127.0.0.1", port)
        sshd.resume()
        async with asyncio.timeout(10):
            await gone.wait()
        assert len(come) == 1


async def test_every_dial_hears_of_a_cut(host: SshConnection, sshd: Sshd) -> None:
    async with served(echo) as port:
        ears = [Ear() for _ in range(3)]
        for ear in ears:
            await talk(host, port, ear)
        sshd.cut()
        for ear in ears:
            assert isinstance(await ear.lost, OSError)
        assert "is lost" in await host.wait_closed()
        with pytest.raises(OSError, match="is lost"):
            await host.dial(Ear, "127.0.0.1", port)


async def test_every_dial_hears_of_a_host_that_has_gone_silent(
    host: SshConnection, sshd: Sshd
) -> None:
    async with served(echo) as port:
        ear = Ear()
        await talk(host, port, ear)
        sshd.stop()
        assert isinstance(await ear.lost, OSError)
        assert "keepalive" in await host.wait_closed()


async def test_our_own_end_cuts_every_dial(host: SshConnection) -> None:
    async with served(echo) as port:
        ear = Ear()
        await talk(host, port, ear)
        host.abort()
        assert isinstance(await ear.lost, OSError)
        assert await host.wait_closed() == "the connection was closed here"


async def test_closing_does_not_wait_for_a_host_that_is_stopped(
    host: SshConnection, sshd: Sshd
) -> None:
    sshd.stop()
    await host.aclose()
    await host.wait_closed()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """An HTTP server that says from which port it was called, until a path says "cut"."""
    port = b"%d" % writer.get_extra_info("peername")[1]
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/silent" in head:
                await reader.read(-1)
            if b"/cut" in head:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
                break
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(port), port))
    writer.close()


def client(host: SshConnection, port: int) -> httpx.AsyncClient:
    transport = host.http_transport("127.0.0.1", port)
    return httpx.AsyncClient(transport=transport, base_url="http://mac:9200", timeout=5)


async def test_http_keeps_its_channel_for_the_next_call(host: SshConnection) -> None:
    async with served(answer) as port, client(host, port) as http:
        callers = [(await http.get("/x")).text for _ in range(3)]
    assert len(set(callers)) == 1


async def test_http_tells_its_troubles_as_httpx_does(host: SshConnection) -> None:
    async with client(host, 1) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("/x")
    async with served(answer) as port, client(host, port) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get("/cut")
        with pytest.raises(httpx.ReadTimeout):
            await http.get("/silent", timeout=0.2)
        assert (await http.get("/x")).status_code == 200
    async with client(host, 1) as http:
        with pytest.raises(httpx.ConnectError):
            await http.get("https://mac/x")


async def test_a_listener_of_this_machine_comes_out_at_the_host(host: SshConnection) -> None:
    async with served(echo) as port:
        forward = await host.forward("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
        writer.write(b"there and back" * 10_000)
        writer.write_eof()
        assert await reader.read(-1) == b"there and back" * 10_000
        writer.close()
        await writer.wait_closed()
        await forward.aclose()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", forward.port)


async def test_a_listener_passes_refusals_and_its_own_end_on(host: SshConnection) -> None:
    dead = await host.forward("127.0.0.1", 1)
    reader, writer = await asyncio.open_connection("127.0.0.1", dead.port)
    with contextlib.suppress(ConnectionError):
        assert await reader.read(-1) == b""
    writer.close()
    await dead.aclose()
    async with served(echo) as port:
        forward = await host.forward("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
        writer.write(b"x")
        assert await reader.read(1) == b"x"
        await forward.aclose()
        with contextlib.suppress(ConnectionError):
            assert await reader.read(-1) == b""
        writer.close()
