"""What a pool's answer to the wish for a relay means, byte by byte and behind real TLS."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator_core.clients.pinned import pinned_context
from orchestrator_core.errors import Refusal
from orchestratord.upstream.relay_road import Relay, RelayRoad
from orchestratord.upstream.road import RoadDownError
from support.certificates import KEY, SELF_SIGNED, SIGNED
from support.waiting import until

WORKER = "wrk_1"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: llorch-relay\r\n\r\n"


class Pool:
    """A TLS port that answers as the test says."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.pieces: list[bytes] = []
        self.stays = True
        self.gone = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            for piece in self.pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if self.stays:
                await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.gone.set()
            writer.close()


class Near(asyncio.Protocol):
    """Our end of a relay."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.body = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")
        self.wire = transport

    def data_received(self, data: bytes) -> None:
        self.body += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")


@pytest.fixture
async def pool() -> Pool:
    return Pool()


@pytest.fixture
async def port(pool: Pool, tmp_path: Path) -> AsyncIterator[int]:
    pem = tmp_path / "pool.pem"
    pem.write_text(SELF_SIGNED + KEY, "ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    async with await asyncio.start_server(pool.serve, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


def road(
    port: int, *, certificate: str = SELF_SIGNED, worker: str = WORKER, key: str = "control"
) -> RelayRoad:
    trust = pinned_context(certificate)
    assert not isinstance(trust, Refusal)
    return RelayRoad(Relay("mac", ("127.0.0.1", port), trust, key), worker)


async def connect(way: RelayRoad) -> Near:
    near = Near()
    async with asyncio.timeout(10):
        await way.connect(lambda: near, ("127.0.0.1", 1))
    return near


def refusal(status: int, code: str, message: str) -> bytes:
    body = json.dumps({"error": {"code": code, "message": message}}).encode()
    return b"HTTP/1.1 %d No\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


async def test_asks_for_the_worker_with_the_key_of_the_session(pool: Pool, port: int) -> None:
    pool.pieces = [SWITCH]
    near = await connect(road(port))
    (head,) = pool.heads
    line, *fields = head.decode().rstrip("\r\n").split("\r\n")
    assert line == "POST /workers/wrk_1/relay HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}" in fields
    assert {"Authorization: Bearer control", "Connection: Upgrade"} < set(fields)
    assert "Upgrade: llorch-relay" in fields
    near.wire.close()


@pytest.mark.parametrize("cut", [1, 5, 12, 13, 40, len(SWITCH) - 1])
async def test_an_answer_in_two_pieces_is_one(pool: Pool, port: int, cut: int) -> None:
    pool.pieces = [SWITCH[:cut], SWITCH[cut:] + b"first"]
    near = await connect(road(port))
    await until(lambda: near.body == b"first")
    assert near.calls == ["made"]
    near.wire.close()


async def test_bytes_behind_the_answer_belong_to_the_worker(pool: Pool, port: int) -> None:
    pool.pieces = [SWITCH + b"first", b"second"]
    near = await connect(road(port))
    await until(lambda: near.body == b"firstsecond")
    near.wire.close()


@pytest.mark.parametrize(
    ("answer", "is_down", "said"),
    [
        (refusal(404, "WORKER_NOT_FOUND", "no worker wrk_1"), False, "no worker wrk_1"),
        (refusal(503, "UNREACHABLE", "wrk_1: refused"), False, "wrk_1: refused"),
        (refusal(401, "BAD_KEY", "this key opens nothing"), True, "this key opens nothing"),
        (refusal(429, "RATE", "1000 relays are\nopen"), True, "1000 relays are open"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", True, "it answered 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", True, "it answered 200"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", True, "not valid HTTP"),
        (b"HTTP/1.1 101 Yes\r\nX: " + b"x" * 20_000, True, "too long"),
    ],
)
async def test_a_refusal_is_told_in_one_line(
    pool: Pool, port: int, answer: bytes, is_down: bool, said: str
) -> None:
    pool.pieces = [answer]
    with pytest.raises(OSError, match="mac") as caught:
        await connect(road(port))
    assert isinstance(caught.value, RoadDownError) is is_down
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    async with asyncio.timeout(10):
        await pool.gone.wait()


@pytest.mark.parametrize("pieces", [[], [b"HTTP/1.1 101 Sw"], [b"HTTP/1.1 401 No\r\n"]])
async def test_a_pool_that_closes_before_it_answered_is_a_road_that_is_down(
    pool: Pool, port: int, pieces: list[bytes]
) -> None:
    pool.pieces, pool.stays = pieces, False
    with pytest.raises(RoadDownError, match="closed the connection"):
        await connect(road(port))


async def test_another_certificate_is_not_this_pool(pool: Pool, port: int) -> None:
    with pytest.raises(RoadDownError, match="mac cannot be reached"):
        await connect(road(port, certificate=SIGNED))
    assert pool.heads == []


@pytest.mark.parametrize(
    ("worker", "key"), [("../status", "k"), ("wrk 1", "k"), ("", "k"), ("wrk_1", "a\r\nX: y")]
)
async def test_what_fits_into_no_request_is_not_sent(
    pool: Pool, port: int, worker: str, key: str
) -> None:
    with pytest.raises(RoadDownError, match="fits into no request"):
        await connect(road(port, worker=worker, key=key))
    assert pool.heads == []


async def test_who_gives_up_leaves_nothing_behind(pool: Pool, port: int) -> None:
    near = Near()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await road(port).connect(lambda: near, ("127.0.0.1", 1))
    async with asyncio.timeout(10):
        await pool.gone.wait()
    assert near.calls == []


def test_what_was_pinned_must_be_a_certificate() -> None:
    found = pinned_context("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    assert isinstance(found, Refusal)
    assert "join again" in found.message


def test_the_key_does_not_show() -> None:
    trust = pinned_context(SELF_SIGNED)
    assert not isinstance(trust, Refusal)
    assert "hush" not in repr(Relay("mac", ("127.0.0.1", 1), trust, "hush"))
