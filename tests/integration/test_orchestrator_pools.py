"""Pools that register and beat over HTTP, and what operators see and stop of them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator_core.contracts.pool import WorkerStatus
from support.fake_engine import FakeEngine
from support.orchestrator import Orchestrator, ready_worker, running_orchestrator
from support.waiting import until


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    async with running_orchestrator(tmp_path) as site:
        yield site
        assert site.failures == []
        assert (await site.client.get("/livez")).status_code == 200


async def test_a_pool_registers_beats_and_is_shown_without_its_keys(site: Orchestrator) -> None:
    registered = await site.register(ready_worker(8001))
    assert registered["pool_id"] == "home"
    assert registered["wanted"] == {"revision": 0, "workers": []}
    assert registered["heartbeat_interval_s"] == 5.0
    beat = await site.beat(ready_worker(8001))
    assert set(beat) == {"wanted", "heartbeat_interval_s", "peers"}
    pools = await site.client.get("/v2/pools")
    (pool,) = pools.json()["items"]
    assert (pool["status"], pool["endpoint"]) == ("online", "http://127.0.0.1:9")
    workers = await site.client.get("/v2/workers")
    (worker,) = workers.json()["items"]
    assert (worker["name"], worker["key"]) == ("worker-cpu-1", None)
    for reply in (pools, workers):
        assert "worker-key" not in reply.text
        assert "control" not in reply.text


async def test_a_word_that_no_answer_could_repeat_is_refused(site: Orchestrator) -> None:
    body = site.registration([ready_worker(8001)], session_id=site.ids.session())
    body["workers"][0]["error_message"] = "half a character: \ud800"
    headers = {"authorization": f"Bearer {site.pool_key}", "content-type": "application/json"}
    reply = await site.client.post("/v2/pools/register", content=json.dumps(body), headers=headers)
    assert (reply.status_code, reply.json()["error"]["code"]) == (400, "INVALID_REQUEST")
    assert (await site.client.get("/v2/workers")).json()["items"] == []


async def test_a_beat_of_an_old_or_unknown_session_is_sent_away(site: Orchestrator) -> None:
    unknown = await site.as_pool("/v2/pools/home/heartbeat", site.beat_body(seq=1))
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (409, "STALE_SESSION")
    await site.register()
    old = site.beat_body(seq=1)
    await site.register()
    stale = await site.as_pool("/v2/pools/home/heartbeat", old)
    assert (stale.status_code, stale.json()["error"]["code"]) == (409, "STALE_SESSION")
    other = await site.as_pool("/v2/pools/other/heartbeat", site.beat_body(seq=1))
    assert (other.status_code, other.json()["error"]["code"]) == (400, "INVALID_REQUEST")


async def test_a_beat_that_was_overtaken_changes_nothing(site: Orchestrator) -> None:
    await site.register()
    late = site.beat_body(seq=1)
    newer = site.beat_body([ready_worker(8001)], seq=2)
    assert (await site.as_pool("/v2/pools/home/heartbeat", newer)).status_code == 200
    reply = await site.as_pool("/v2/pools/home/heartbeat", late)
    assert reply.status_code == 200
    assert set(reply.json()) == {"wanted", "heartbeat_interval_s", "peers"}
    assert len((await site.client.get("/v2/workers")).json()["items"]) == 1
    # A new session counts from one again.
    await site.register()
    await site.beat(ready_worker(8001))
    assert len((await site.client.get("/v2/workers")).json()["items"]) == 1


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://10.0.0.1:9200",
        "http://169.254.169.254:80",
        "https://127.0.0.1:9200",
        "http://127.0.0.1",
        "http://[::1",
        "http://127.0.0.1:99999",
        "",
    ],
)
async def test_a_pool_may_not_name_a_foreign_endpoint(site: Orchestrator, endpoint: str) -> None:
    body = site.registration(endpoint=endpoint, session_id=site.ids.session())
    reply = await site.as_pool("/v2/pools/register", body)
    assert reply.status_code == 400
    assert reply.json()["error"]["details"] == {"param": "endpoint"}
    assert (await site.client.get("/v2/pools")).json()["items"] == []


@pytest.mark.parametrize(
    "change",
    [
        {"url": "http://169.254.169.254:80/latest"},
        {"url": "http://example.com:80"},
        {"url": "http://[::1"},
        {"url": "http://127.0.0.1:99999"},
        {"url": "file:///etc/passwd"},
        {"key": "two words"},
        {"key": "line\r\nX-Evil: 1"},
        {"key": ""},
        {"key": "ключ"},
    ],
)
async def test_a_worker_that_no_request_can_be_sent_to_is_refused(
    site: Orchestrator, change: dict[str, str]
) -> None:
    worker = ready_worker(8001).model_dump(mode="json") | change
    session = site.ids.session()
    body = site.registration(session_id=session) | {"workers": [worker]}
    reply = await site.as_pool("/v2/pools/register", body)
    assert reply.status_code == 400
    (field,) = change
    assert reply.json()["error"]["details"] == {"param": f"workers.0.{field}"}
    await site.register()
    beat = site.beat_body(seq=1) | {"workers": [worker]}
    reply = await site.as_pool("/v2/pools/home/heartbeat", beat)
    assert reply.status_code == 400
    await site.submit()
    assert (await site.client.get("/v2/workers")).json()["items"] == []


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"{", "not JSON"),
        (b"", "required"),
        (b"[]", "dictionary"),
        (b'{"pool_id": "../x"}', "pool_id"),
    ],
)
async def test_a_malformed_report_gets_one_readable_line(
    site: Orchestrator, body: bytes, word: str
) -> None:
    headers = {
        "authorization": f"Bearer {site.pool_key}",
        "content-type": "application/json",
    }
    for path in ("/v2/pools/register", "/v2/pools/home/heartbeat"):
        reply = await site.client.post(path, content=body, headers=headers)
        assert reply.status_code == 400
        message = reply.json()["error"]["message"]
        assert word in message.lower() or word in message
        assert "\n" not in message


async def test_a_broken_scheduler_tells_pools_nothing_that_would_stop_their_workers(
    site: Orchestrator,
) -> None:
    await site.register()
    site.parts.loop.failure = RuntimeError("broken")
    reply = await site.as_pool(
        "/v2/pools/register", site.registration(session_id=site.ids.session())
    )
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "DRAINING")
    reply = await site.as_pool("/v2/pools/home/heartbeat", site.beat_body(seq=1))
    assert reply.status_code == 503
    ready = await site.client.get("/readyz")
    assert ready.json()["reasons"] == ["the scheduler has stopped"]


async def test_a_job_for_a_missing_model_orders_a_worker_from_the_pool(tmp_path: Path) -> None:
    orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue(10)
    async with pool_endpoint(orders) as port, running_orchestrator(tmp_path) as site:
        site._session = site.ids.session()
        body = site.registration(endpoint=f"http://127.0.0.1:{port}")
        assert (await site.as_pool("/v2/pools/register", body)).status_code == 200
        job_id = await site.submit()
        async with asyncio.timeout(10):
            order = await orders.get()
        assert order["spec"]["model"]["model_id"] == "tiny-chat"
        assert (order["generation"], order["revision"]) == (1, 1)

        # The pool's answer was not one of a pool: a failed start, and nothing that ends the daemon.
        async def refused() -> bool:
            why = (await site.job(job_id))["why"]
            return any("starting a worker failed once" in line for line in why)

        await until(refused, what="the failed start")
        assert site.failures == []


@contextlib.asynccontextmanager
async def pool_endpoint(orders: asyncio.Queue[dict[str, Any]]) -> AsyncIterator[int]:
    """A server that takes orders and answers nonsense."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            orders.put_nowait(json.loads(await reader.readexactly(length)))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def test_a_pool_that_registers_again_in_the_middle_of_an_order_is_fine(
    tmp_path: Path,
) -> None:
    heard: list[asyncio.StreamWriter] = []
    deaf = await asyncio.start_server(lambda _, writer: heard.append(writer), "127.0.0.1", 0)
    port = int(deaf.sockets[0].getsockname()[1])
    async with running_orchestrator(tmp_path) as site:
        for number in range(3):
            site._session = site.ids.session()
            body = site.registration(endpoint=f"http://127.0.0.1:{port}")
            assert (await site.as_pool("/v2/pools/register", body)).status_code == 200
            if number == 0:
                await site.submit()
                await until(lambda: heard, what="the order on its way")
        assert site.failures == []
        deaf.close()
        for writer in heard:
            writer.close()


async def test_an_operator_stops_a_worker_by_id_or_by_a_name_that_is_unique(
    site: Orchestrator,
) -> None:
    await site.register(ready_worker(8001, 1), ready_worker(8002, 2))
    reply = await site.client.post("/v2/workers/worker-cpu-2/stop")
    assert (reply.status_code, reply.json()["status"]) == (202, "stopping")
    missing = await site.client.post("/v2/workers/nobody/stop")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "WORKER_NOT_FOUND")
    twin = ready_worker(8003, 3).model_copy(update={"name": "worker-cpu-1"})
    await site.beat(ready_worker(8001, 1), ready_worker(8002, 2), twin)
    unclear = await site.client.post("/v2/workers/worker-cpu-1/stop")
    assert (unclear.status_code, unclear.json()["error"]["code"]) == (409, "CONFLICT")
    assert twin.id in unclear.json()["error"]["message"]
    assert (await site.client.post(f"/v2/workers/{twin.id}/stop")).status_code == 202


async def test_a_worker_that_leaves_and_comes_back_serves_the_waiting(tmp_path: Path) -> None:
    async with FakeEngine.listening() as engine, running_orchestrator(tmp_path) as site:
        await site.register(ready_worker(engine.port))
        first = await site.submit("a")
        call = await engine.next_call()
        draining = ready_worker(engine.port, status=WorkerStatus.DRAINING)
        await site.beat(draining)
        second = await site.submit("b")
        await call.answer("still")
        assert (await site.ended(first))["output"] == "still"
        assert (await site.job(second))["status"] == "queued"
        await site.beat(ready_worker(engine.port, incarnation=2))
        await (await engine.next_call()).answer("again")
        assert (await site.ended(second))["output"] == "again"


async def test_an_answer_goes_on_while_its_pool_is_silent(tmp_path: Path) -> None:
    async with FakeEngine.listening() as engine, running_orchestrator(tmp_path) as site:
        await site.register(ready_worker(engine.port))
        job_id = await site.submit()
        call = await engine.next_call()
        await call.open()
        for silent_s in (15, 30):
            site.clock.advance(silent_s)
            site.parts.loop._ring()

        async def lost() -> bool:
            pools = (await site.client.get("/v2/pools")).json()["items"]
            return pools[0]["status"] == "lost"

        await until(lost, what="the lost pool")
        await call.say("alive")
        await call.end()
        assert (await site.ended(job_id))["output"] == "alive"
