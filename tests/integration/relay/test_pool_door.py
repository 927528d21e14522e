"""The door of a pool's port: how long and how often a stranger may keep it open, and what passes."""

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from orchestrator_core.clients.pool import AsyncPoolClient
from orchestrator_core.clients.trust import Trust
from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.daemon.tls import ServerTls, open_tls
from orchestrator_core.errors import Code, LlorchError
from pool_managerd.serving.places import Places
from support.certificates import tls_files
from support.pool_fakes import WORKER_ID, make_worker
from support.pool_site import PoolSite, running_pool
from support.relay_clients import RelayClient, head_for
from support.scripted_peer import ScriptedWorker
from support.waiting import until

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
KEY = "Authorization: Bearer the-operator-key\r\n"


@pytest.fixture
def tls(tmp_path: Path) -> ServerTls:
    found = open_tls(*tls_files(tmp_path / "tls"))
    assert isinstance(found, ServerTls)
    return found


@pytest.fixture
def trust(tls: ServerTls) -> ssl.SSLContext:
    return Trust(tls.cert_file, is_peers_own=True).context()


@pytest.fixture
def places() -> Places:
    return Places(3)


@pytest.fixture
async def site(tmp_path: Path, tls: ServerTls, places: Places) -> AsyncGenerator[PoolSite]:
    async with running_pool(tmp_path, tls=tls, places=places, head_s=0.3, body_s=0.3) as site:
        yield site
    assert places.taken == 0


@pytest.fixture
async def plain(tmp_path: Path, places: Places) -> AsyncGenerator[PoolSite]:
    async with running_pool(tmp_path, places=places, head_s=0.3, body_s=0.3) as site:
        yield site
    assert places.taken == 0


async def ended(client: RelayClient) -> bytes:
    """What a connection still says until the pool ends it."""
    # A connection that stays open is a TimeoutError, and no end.
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await client.rest()
    client.leave()
    return client.seen


async def ask_status(url: str, trust: Trust | None) -> None:
    """A call as every client makes it."""
    pool = AsyncPoolClient(url, None, trust=trust)
    try:
        await pool.status()
    finally:
        await pool.aclose()


async def test_a_handshake_that_never_begins_ends_and_gives_its_place_back(
    site: PoolSite, places: Places
) -> None:
    mute = [await RelayClient.connect(site.url, None) for _ in range(3)]
    await until(lambda: places.taken == 3, what="the places to be taken")
    for client in mute:
        assert await ended(client) == b""
    await until(lambda: places.taken == 0, what="the places to be free")


async def test_plain_http_to_the_https_port_is_told_so_and_https_to_the_other_too(
    site: PoolSite, trust: ssl.SSLContext, places: Places
) -> None:
    with pytest.raises(LlorchError, match="this port speaks HTTPS") as caught:
        await ask_status(site.url.replace("https", "http"), None)
    assert caught.value.code is Code.INVALID_REQUEST
    await until(lambda: places.taken == 0, what="the place to be free")
    for hello in (b"", b"\x16", b"\x16\x03\x01\xff\xff", b"SSH-2.0-x\r\n", bytes(9)):
        client = await RelayClient.connect(site.url, None)
        client.say(hello)
        answer = await ended(client)
        assert b"200 OK" not in answer
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await RelayClient.connect(site.url, _of_another_version())


def _of_another_version() -> ssl.SSLContext:
    """A caller from the time before TLS 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


async def test_https_to_a_plain_port_is_told_so(plain: PoolSite, tls: ServerTls) -> None:
    url = plain.url.replace("http", "https")
    with pytest.raises(LlorchError, match="does not speak HTTPS"):
        await ask_status(url, Trust(tls.cert_file))


async def test_whom_there_is_no_place_for_is_hung_up_on_and_nobody_else(
    plain: PoolSite, places: Places
) -> None:
    held = [await RelayClient.connect(plain.url, None) for _ in range(3)]
    await until(lambda: places.taken == 3, what="the places to be taken")
    late = await RelayClient.connect(plain.url, None)
    assert await ended(late) == b""
    assert places.refused == 1
    held[0].say(HEALTH)
    assert b" 200 OK" in await held[0].until(b"}")
    held[0].leave()
    await until(lambda: places.taken == 2, what="a place to be free")
    again = await RelayClient.connect(plain.url, None)
    again.say(HEALTH)
    await again.until(b"}")
    for client in (*held[1:], again):
        client.leave()


async def test_a_relay_needs_no_place_at_the_door(
    site: PoolSite, places: Places, trust: ssl.SSLContext
) -> None:
    worker = ScriptedWorker()
    site.workers.workers[WORKER_ID] = make_worker(status=WorkerStatus.READY, port=worker.address[1])
    relayed: list[RelayClient] = []
    for _ in range(5):
        relayed.append(await RelayClient.relayed(site.url, trust))
        await worker.accept()
    assert places.taken == 0
    assert site.relays.open == 5
    for client in relayed:
        client.leave()
    await until(lambda: site.relays.open == 0, what="the end of the relays")
    worker.close()


@pytest.mark.parametrize(
    "said",
    [
        # A body that is never finished, refused or not.
        b"POST /session/join HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n{",
        b"POST /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n{",
        # An answered call, and then bytes that begin no other.
        HEALTH + b"\r\n",
    ],
)
async def test_who_does_not_finish_a_call_is_sent_off_however_he_dawdles(
    plain: PoolSite, said: bytes
) -> None:
    client = await RelayClient.connect(plain.url, None)
    client.say(said)

    loop = asyncio.get_running_loop()

    def dawdle() -> None:
        if not client.writer.is_closing():
            client.say(b"\r\n")
            loop.call_later(0.05, dawdle)

    dawdle()
    await ended(client)


async def test_a_whole_body_in_pieces_is_read(plain: PoolSite) -> None:
    client = await RelayClient.connect(plain.url, None)
    body = b'{"token":"a-token-that-nobody-laid"}'
    client.say(b"POST /session/join HTTP/1.1\r\nHost: localhost\r\n")
    client.say(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body))
    for byte in body:
        client.say(bytes([byte]))
        await client.writer.drain()
    assert b"BAD_TOKEN" in await client.until(b"}}")
    client.leave()


async def test_neither_a_key_nor_a_host_may_come_behind_the_body(plain: PoolSite) -> None:
    client = await RelayClient.connect(plain.url, None)
    head = "POST /drain HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    client.say(f"{head}0\r\n{KEY}\r\n".encode())
    assert b"NO_KEY" in await client.until(b"}}")
    assert not plain.pool.drain.active
    client.leave()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (f"GET http://evil.example/status HTTP/1.1\r\nHost: localhost\r\n{KEY}\r\n", "not a path"),
        ("CONNECT localhost:80 HTTP/1.1\r\nHost: localhost\r\n\r\n", "not a path"),
        (
            f"POST /drain HTTP/1.1\r\nHost: localhost\r\n{KEY}Connection: Upgrade\r\n"
            "Upgrade: websocket\r\nContent-Length: 2\r\n\r\n{}",
            "does not upgrade",
        ),
        (
            f"POST /drain HTTP/1.1\r\nHost: localhost\r\n{KEY}Content-Length: 2\r\n"
            "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "Invalid HTTP",
        ),
        (
            f"POST /drain HTTP/1.1\r\nHost: localhost\r\n{KEY}Content-Length: 0\r\n"
            "Content-Length: 5\r\n\r\n",
            "Invalid HTTP",
        ),
        (f"GET /status HTTP/1.1\r\nHost: localhost\r\n X: folded\r\n{KEY}\r\n", ""),
        (f"GET /status HTTP/1.1\r\nHost: localhost\r\nX : 1\r\n{KEY}\r\n", "Invalid HTTP"),
        (f"GET /status HTTP/1.1\r\nHost: localhost\r\nX: a\0b\r\n{KEY}\r\n", "Invalid HTTP"),
    ],
)
async def test_a_request_that_two_readers_could_read_in_two_ways_is_none(
    plain: PoolSite, said: str, why: str
) -> None:
    client = await RelayClient.connect(plain.url, None)
    client.say(said.encode())
    answer = await ended(client)
    assert answer.startswith(b"HTTP/1.1 4")
    assert why.encode() in answer
    assert not plain.pool.drain.active


async def test_a_wish_for_another_protocol_is_answered_and_nothing_behind_it_is_read(
    plain: PoolSite,
) -> None:
    client = await RelayClient.connect(plain.url, None)
    wish = f"GET /status HTTP/1.1\r\nHost: localhost\r\n{KEY}Connection: Upgrade\r\n"
    drain = f"POST /drain HTTP/1.1\r\nHost: localhost\r\n{KEY}\r\n"
    client.say(f"{wish}Upgrade: websocket\r\n\r\n{drain}".encode())
    assert (await ended(client)).count(b"HTTP/1.1 ") == 1
    assert not plain.pool.drain.active


async def test_a_relay_that_is_asked_for_as_a_second_call_is_none(
    site: PoolSite, trust: ssl.SSLContext
) -> None:
    worker = ScriptedWorker()
    site.workers.workers[WORKER_ID] = make_worker(status=WorkerStatus.READY, port=worker.address[1])
    client = await RelayClient.connect(site.url, trust)
    client.say(HEALTH + head_for() + HEALTH)
    answer = await ended(client)
    assert b"101 Switching" not in answer
    assert b"INVALID_REQUEST" in answer
    assert site.relays.accepted == 0
    worker.close()


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (WorkerStatus.STARTING, b"LOADING"),
        (WorkerStatus.LOADING, b"LOADING"),
        (WorkerStatus.UNCLAIMED, b"WORKER_NOT_FOUND"),
        (WorkerStatus.FAILED, b"WORKER_NOT_FOUND"),
        (WorkerStatus.PARKED, b"WORKER_NOT_FOUND"),
    ],
)
async def test_a_stranger_on_the_port_of_a_worker_that_is_not_proven_hears_nothing(
    site: PoolSite, trust: ssl.SSLContext, status: WorkerStatus, word: bytes
) -> None:
    stranger = ScriptedWorker()
    site.workers.workers[WORKER_ID] = make_worker(status=status, port=stranger.address[1])
    client = await RelayClient.connect(site.url, trust)
    client.say(head_for())
    assert word in await ended(client)
    assert site.relays.accepted == 0
    stranger.close()


@pytest.mark.parametrize("when", [1, 2])
async def test_a_stranger_on_the_port_of_a_worker_that_died_hears_nothing(
    tmp_path: Path, tls: ServerTls, trust: ssl.SSLContext, when: int
) -> None:
    asked: list[int] = []

    def is_alive(pid: int) -> bool:
        # Nobody has noticed yet that it died: before we dialled, or while we did.
        asked.append(pid)
        return len(asked) < when

    stranger = ScriptedWorker()
    async with running_pool(tmp_path, tls=tls, is_alive=is_alive) as site:
        report = make_worker(status=WorkerStatus.BUSY, port=stranger.address[1])
        site.workers.workers[WORKER_ID] = report.model_copy(update={"pid": 4711})
        client = await RelayClient.connect(site.url, trust)
        client.say(head_for() + b"the worker's own key")
        assert b"WORKER_NOT_FOUND" in await ended(client)
        assert asked == [4711] * when
        assert site.relays.open == site.relays.accepted == 0
    stranger.close()
