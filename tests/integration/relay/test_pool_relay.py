"""The relay of a pool's TLS port: raw bytes to a worker and back."""

import asyncio
import contextlib
import hashlib
import json
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from orchestrator_core.clients.trust import Trust
from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.daemon.tls import ServerTls, open_tls
from pool_managerd.runtime.keyring import Caller
from support.certificates import tls_files
from support.pool_fakes import WORKER_ID, make_worker
from support.pool_site import OPERATOR_KEY, PoolSite, running_pool
from support.relay_clients import RelayClient, head_for
from support.scripted_peer import Peer, ScriptedWorker
from support.waiting import until

REQUEST = b"GET /health HTTP/1.1\r\nHost: worker\r\n\r\n"


@pytest.fixture
def tls(tmp_path: Path) -> ServerTls:
    found = open_tls(*tls_files(tmp_path / "tls"))
    assert isinstance(found, ServerTls)
    return found


@pytest.fixture
def trust(tls: ServerTls) -> ssl.SSLContext:
    return Trust(tls.cert_file, is_peers_own=True).context()


@pytest.fixture
def worker() -> Iterator[ScriptedWorker]:
    scripted = ScriptedWorker()
    yield scripted
    scripted.close()


def report(site: PoolSite, worker: ScriptedWorker, **changes: object) -> None:
    """Let the pool know a ready worker at this address."""
    ready = make_worker(status=WorkerStatus.READY, port=worker.address[1])
    site.workers.workers[WORKER_ID] = ready.model_copy(update=changes)


@pytest.fixture
async def site(tmp_path: Path, tls: ServerTls, worker: ScriptedWorker) -> AsyncIterator[PoolSite]:
    async with running_pool(tmp_path, tls=tls, relays_limit=250, head_s=0.3) as site:
        report(site, worker)
        yield site
        assert site.relays.open == 0 or site.relays.accepted


async def pair(
    site: PoolSite,
    worker: ScriptedWorker,
    trust: ssl.SSLContext,
    *,
    window_bytes: int | None = None,
) -> tuple[RelayClient, Peer]:
    """A relay and the worker at its end."""
    client = await RelayClient.relayed(site.url, trust, window_bytes=window_bytes)
    return client, await worker.accept()


def steady(count: Callable[[], int]) -> Callable[[], bool]:
    """True when a count has begun, and has not changed for many looks."""
    last, same = 0, 0

    def look() -> bool:
        nonlocal last, same
        same = same + 1 if count() == last else 0
        last = count()
        return last > 0 and same > 20

    return look


async def refusal(client: RelayClient) -> tuple[int, str]:
    """The status and the code of a refusal, which ends its connection."""
    answer = await client.rest()
    client.writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    error = json.loads(body)["error"]
    assert f"x-correlation-id: {error['correlation_id']}".encode() in head
    assert "\n" not in error["message"]
    return int(head.split(b" ", 2)[1]), error["code"]


async def test_bytes_go_both_ways_as_they_come(
    site: PoolSite, worker: ScriptedWorker, trust: ssl.SSLContext
) -> None:
    client, peer = await pair(site, worker, trust)
    client.say(REQUEST)
    assert await peer.read_request() == REQUEST
    for word in (b"one", b"two", b"three"):
        # Each piece arrives before the next is sent: nothing waits for company.
        await peer.send(word)
        await client.until(word)
    peer.close()
    assert await client.rest() == b"onetwothree"
    client.writer.close()
    await until(lambda: site.relays.open == 0, what="the end of the relay")
    assert site.relays.from_workers_bytes == len(b"onetwothree")
    assert site.relays.to_workers_bytes == len(REQUEST)


async def test_what_is_said_with_the_head_needs_no_round_trip(
    site: PoolSite, worker: ScriptedWorker, trust: ssl.SSLContext
) -> None:
    client = await RelayClient.relayed(site.url, trust, head_for() + REQUEST)
    peer = await worker.accept()
    assert await peer.read_request() == REQUEST
    client.leave()


async def test_a_head_may_come_in_single_bytes(
    site: PoolSite, worker: ScriptedWorker, trust: ssl.SSLContext
) -> None:
    client = await RelayClient.connect(site.url, trust)
    for byte in head_for():
        client.say(bytes([byte]))
        await asyncio.sleep(0)
    await client.until(b"101 Switching")
    await worker.accept()
    client.leave()


async def test_a_worker_is_found_by_its_name_too(
    site: PoolSite, worker: ScriptedWorker, trust: ssl.SSLContext
) -> None:
    client = await RelayClient.relayed(site.url, trust, head_for("worker-cpu-0"))
    await worker.accept()
    client.leave()


@pytest.mark.parametrize("how", ["abort", "close"])
async def test_a_caller_that_leaves_cancels_at_the_worker(
    site: PoolSite, worker: ScriptedWorker, trust: ssl.SSLContext, how: str
) -> None:
    client, peer = await pair(site, worker, trust)
    client.say(REQUEST)
    await peer.read_request()
    await peer.send(b"Hel")
    await client.until(b"Hel")
    client.leave() if how == "abort" else client.writer.close()
    async with asyncio.timeout(10):
        await peer.wait_closed()
    await until(lambda: site.relays.open == 0, what="the end of the relay")


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_worker_that_ends_ends_the_relay(
    site: PoolSite, worker: ScriptedWorker, trust: ssl.SSLContext, how: str
) -> None:
    client, peer = await pair(site, worker, trust)
    await peer.send(b"Hello")
    await client.until(b"Hello")
    peer.close() if how == "close" else peer.reset()
    assert await client.rest() == b"Hello"
    client.writer.close()
    await until(lambda: site.relays.open == 0, what="the end of the relay")


async def test_a_slow_caller_holds_the_worker_back_and_loses_nothing(
    site: PoolSite, worker: ScriptedWorker, trust: ssl.SSLContext
) -> None:
    client, peer = await pair(site, worker, trust, window_bytes=4096)
    total, piece, sent = 32 << 20, bytes(range(256)) * 256, 0

    async def flood() -> None:
        nonlocal sent
        while sent < total:
            await peer.send(piece)
            sent += len(piece)
        peer.close()

    async with asyncio.TaskGroup() as tasks:
        flooding = tasks.create_task(flood())
        await until(steady(lambda: sent), what="the worker to be held back")
        assert not flooding.done()
        # What lies between them is bounded: buffers of the system and of ours, and nothing more.
        assert sent < 16 << 20
        read = 0
        async with asyncio.timeout(60):
            while data := await client.reader.read(1 << 16):
                read += len(data)
    assert read == total
    client.writer.close()


async def test_a_slow_worker_holds_the_caller_back(
    site: PoolSite, worker: ScriptedWorker, trust: ssl.SSLContext
) -> None:
    client, peer = await pair(site, worker, trust)
    total, piece, said = 32 << 20, b"x" * (1 << 16), 0

    async def flood() -> None:
        nonlocal said
        while said < total:
            client.say(piece)
            await client.writer.drain()
            said += len(piece)

    read = 0
    async with asyncio.TaskGroup() as tasks:
        flooding = tasks.create_task(flood())
        await until(steady(lambda: said), what="the caller to be held back")
        assert not flooding.done()
        assert said < 16 << 20
        while read < total:
            read += len(await peer.receive(1 << 20))
    client.leave()


async def test_two_hundred_relays_at_once(
    site: PoolSite, worker: ScriptedWorker, trust: ssl.SSLContext
) -> None:
    # One after the other, so that each caller is known to have this end at the worker.
    pairs = [await pair(site, worker, trust) for _ in range(200)]
    assert site.relays.open == 200

    async def talk(number: int) -> bytes:
        client, peer = pairs[number]
        client.say(b"%03d" % number)
        await peer.send(await peer.receive(3) + b".")
        answer = await client.until(b".")
        client.writer.close()
        return answer

    answers = await asyncio.gather(*(talk(number) for number in range(200)))
    assert answers == [b"%03d." % number for number in range(200)]
    await until(lambda: site.relays.open == 0, what="the end of all relays")
    assert site.relays.accepted == 200


async def test_more_than_the_limit_are_told_to_wait(
    tmp_path: Path, tls: ServerTls, worker: ScriptedWorker, trust: ssl.SSLContext
) -> None:
    async with running_pool(tmp_path, tls=tls, relays_limit=1) as site:
        report(site, worker)
        first = await RelayClient.relayed(site.url, trust)
        second = await RelayClient.connect(site.url, trust)
        second.say(head_for())
        assert await refusal(second) == (429, "RATE")
        assert b"retry-after: 1" in second.seen
        first.leave()


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (head_for(key="wrong"), 401, "BAD_KEY"),
        (head_for(host="evil.example"), 403, "FORBIDDEN_HOST"),
        (head_for(more="Host: localhost\r\n"), 403, "FORBIDDEN_HOST"),
        (head_for(more="Origin: https://evil.example\r\n"), 403, "FORBIDDEN_HOST"),
        (head_for("worker-cpu-9"), 404, "WORKER_NOT_FOUND"),
        (head_for(more="Content-Length: 3\r\n"), 400, "INVALID_REQUEST"),
        (head_for(more="X: " + "x" * 20_000 + "\r\n"), 413, "TOO_LARGE"),
    ],
)
async def test_a_refused_caller_gets_the_usual_envelope(
    site: PoolSite, trust: ssl.SSLContext, head: bytes, status: int, code: str
) -> None:
    client = await RelayClient.connect(site.url, trust)
    client.say(head)
    assert await refusal(client) == (status, code)
    assert site.relays.accepted == 0


@pytest.mark.parametrize("caller", Caller)
async def test_a_relay_is_for_the_orchestrator_and_the_operator(
    site: PoolSite, trust: ssl.SSLContext, worker: ScriptedWorker, caller: Caller
) -> None:
    site.keyring.admit_joined(hashlib.sha256(b"joined").hexdigest())
    site.keyring.admit_peers("peer")
    of_session = site.keyring.offer()
    keys = {Caller.OPERATOR: OPERATOR_KEY, Caller.ORCHESTRATOR: of_session}
    client = await RelayClient.connect(site.url, trust)
    client.say(head_for(key=keys.get(caller, caller.value)))
    if caller in keys:
        await client.until(b"101 Switching")
        await worker.accept()
        client.leave()
    else:
        assert await refusal(client) == (403, "SCOPE")


async def test_the_key_of_an_earlier_session_opens_no_relay(
    site: PoolSite, trust: ssl.SSLContext
) -> None:
    earlier = site.keyring.offer()
    site.keyring.settle()
    site.keyring.offer()
    site.keyring.settle()
    client = await RelayClient.connect(site.url, trust)
    client.say(head_for(key=earlier))
    assert await refusal(client) == (401, "BAD_KEY")


async def test_a_worker_that_is_not_there_is_told(
    site: PoolSite, worker: ScriptedWorker, trust: ssl.SSLContext
) -> None:
    worker.close()
    client = await RelayClient.connect(site.url, trust)
    client.say(head_for())
    assert await refusal(client) == (503, "UNREACHABLE")
    assert b"cannot be reached" in client.seen
    assert site.relays.open == 0


async def test_an_engine_that_speaks_https_is_not_relayed(
    site: PoolSite, worker: ScriptedWorker, trust: ssl.SSLContext
) -> None:
    report(site, worker, url="https://engine.example", port=None)
    client = await RelayClient.connect(site.url, trust)
    client.say(head_for())
    assert await refusal(client) == (400, "INVALID_REQUEST")


async def test_without_encryption_there_is_no_relay(tmp_path: Path, worker: ScriptedWorker) -> None:
    async with running_pool(tmp_path) as site:
        report(site, worker)
        client = await RelayClient.connect(site.url, None)
        client.say(head_for())
        assert b'"INVALID_REQUEST"' in await client.until(b"}}")
        assert b"HTTPS" in client.seen
        client.leave()


async def test_every_other_call_is_answered_as_without_relays(
    site: PoolSite, trust: ssl.SSLContext
) -> None:
    headers = {"authorization": f"Bearer {OPERATOR_KEY}"}
    async with httpx.AsyncClient(base_url=site.url, verify=trust, headers=headers) as caller:
        for _ in range(2):
            assert (await caller.get("/status")).json()["pool_id"] == "home"
            asked = await caller.post(f"/workers/{WORKER_ID}/relay")
            assert asked.json()["error"]["code"] == "INVALID_REQUEST"


@pytest.mark.parametrize(
    "said", [b"", b"POST /workers/", head_for()[:-2], b"GET /health HTTP/1.1\r\nX: "]
)
async def test_who_does_not_finish_a_head_is_sent_off(
    site: PoolSite, trust: ssl.SSLContext, said: bytes
) -> None:
    client = await RelayClient.connect(site.url, trust)
    client.say(said)
    with contextlib.suppress(OSError):
        assert await client.rest() == b""
    client.leave()


async def test_a_head_of_another_call_has_an_end_too(site: PoolSite, trust: ssl.SSLContext) -> None:
    client = await RelayClient.connect(site.url, trust)
    client.say(b"GET /health HTTP/1.1\r\nX: " + b"x" * 200_000)
    with contextlib.suppress(OSError):
        await client.until(b"too large")
    client.leave()


async def test_a_relay_ends_with_the_daemon(
    tmp_path: Path, tls: ServerTls, worker: ScriptedWorker, trust: ssl.SSLContext
) -> None:
    async with running_pool(tmp_path, tls=tls) as site:
        report(site, worker)
        client, peer = await pair(site, worker, trust)
    async with asyncio.timeout(10):
        await peer.wait_closed()
        with contextlib.suppress(OSError):
            assert await client.rest() == b""
    client.leave()


async def test_relays_are_counted(
    site: PoolSite, worker: ScriptedWorker, trust: ssl.SSLContext
) -> None:
    client, _ = await pair(site, worker, trust)
    assert "pool_mgr_relays_open 1.0" in site.pool.metrics.render().decode()
    client.leave()
    await until(lambda: site.relays.open == 0, what="the end of the relay")
    assert 'pool_mgr_relays_total{outcome="accepted"} 1.0' in site.pool.metrics.render().decode()
