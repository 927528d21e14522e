"""The pool clients send typed orders to the right paths and let keys through only where due."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from orchestrator_core.catalog.entries import CatalogEntry, spec_for
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clients import http
from orchestrator_core.clients.orchestrator import AsyncOrchestratorClient
from orchestrator_core.clients.pool import AsyncPoolClient, PoolClient
from orchestrator_core.contracts.pool import (
    DeviceReport,
    Heartbeat,
    PoolRegister,
    SpawnRequest,
    StopRequest,
    WorkerReport,
)
from orchestrator_core.errors import Code, LlorchError

ENTRY = Catalog.load().resolve("tiny-chat")
assert isinstance(ENTRY, CatalogEntry)
SPEC = spec_for(ENTRY)
WORKER = WorkerReport.model_validate(
    {
        "id": "wrk_1", "name": "tiny-chat-1", "owner": "operator", "status": "starting",
        "model": "tiny-chat", "task": "generate", "backend": "cpu", "spec": SPEC.model_dump(),
        "slots_total": 1, "started_at": "2026-01-01T00:00:00Z", "key": "wk",
    }
)  # fmt: skip
DEVICE = DeviceReport(
    id="cpu", index=0, kind="cpu", name="CPU", backends=[], memory_total_bytes=2, memory_free_bytes=1
)  # fmt: skip
STATUS = {
    "pool_id": "p", "version": "0.1.0", "session_id": "s", "orchestrator_url": None,
    "orchestrator_connected": False, "devices": [], "workers": [], "models": [],
}  # fmt: skip
WANTED = {"revision": 1, "workers": []}
REPLIES = {
    "/health": {"status": "ok"},
    "/status": STATUS,
    "/devices": {"items": [DEVICE.model_dump(mode="json")]},
    "/workers": {"items": [WORKER.model_dump(mode="json")]},
    "/workers/spawn": WORKER.model_dump(mode="json"),
    "/workers/tiny-chat-1/stop": WORKER.model_dump(mode="json"),
    "/v2/pools/register": {
        "pool_id": "p", "session_id": "s", "heartbeat_interval_s": 5, "wanted": WANTED,
    },
    "/v2/pools/p/heartbeat": {"wanted": WANTED, "heartbeat_interval_s": 5},
}  # fmt: skip


class Script:
    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(200, json=REPLIES[request.url.path])


@pytest.fixture
def script() -> Script:
    return Script()


def test_reads_everything_of_a_pool(script: Script) -> None:
    with PoolClient("http://p", "k", transport=httpx.MockTransport(script)) as pool:
        assert pool.health().status == "ok"
        assert pool.status().pool_id == "p"
        assert pool.devices() == [DEVICE]
        assert [worker.id for worker in pool.workers().items] == ["wrk_1"]
    assert all(request.headers["authorization"] == "Bearer k" for request in script.requests)


def test_orders_and_stops_a_worker_with_time_for_its_grace(script: Script) -> None:
    with PoolClient("http://p", "k", transport=httpx.MockTransport(script)) as pool:
        pool.spawn(SpawnRequest(spec=SPEC))
        pool.stop("tiny-chat-1", StopRequest(grace_s=300))
        pool.stop("tiny-chat-1")
    spawn, stop, plain = script.requests
    assert SpawnRequest.model_validate_json(spawn.content).spec == SPEC
    assert json.loads(stop.content)["grace_s"] == 300
    assert stop.extensions["timeout"]["read"] > 300
    assert StopRequest.model_validate_json(plain.content) == StopRequest()


@pytest.mark.parametrize("name", ["", "..", "a/b", "\udcff", "a\nb", "x" * 200, "?x=1"])
def test_what_no_worker_can_be_named_never_reaches_a_path(script: Script, name: str) -> None:
    with (
        PoolClient("http://p", "k", transport=httpx.MockTransport(script)) as pool,
        pytest.raises(LlorchError, match="no worker is named") as caught,
    ):
        pool.stop(name)
    assert caught.value.code is Code.WORKER_NOT_FOUND
    assert script.requests == []


async def test_orchestrator_orders_a_pool_about(script: Script) -> None:
    async with AsyncPoolClient("http://p", "k", transport=httpx.MockTransport(script)) as pool:
        assert (await pool.status()).pool_id == "p"
        assert (await pool.spawn(SpawnRequest(spec=SPEC))).id == "wrk_1"
        assert (await pool.stop("tiny-chat-1", StopRequest(grace_s=50))).id == "wrk_1"
    assert script.requests[-1].extensions["timeout"]["read"] > 50


class Endless(httpx.AsyncByteStream):
    """A body that never comes to its end."""

    def __init__(self, piece: bytes) -> None:
        self.piece = piece
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            self.sent += 1
            yield self.piece
            await asyncio.sleep(0)


@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_without_an_end_is_cut_off(status: int) -> None:
    body = Endless(b"x" * 2**20)
    way = httpx.MockTransport(lambda _: httpx.Response(status, stream=body))
    async with AsyncPoolClient("http://p", "k", transport=way) as pool:
        with pytest.raises(LlorchError, match="answered with more than 16 MiB"):
            await pool.status()
    assert body.sent < 20


async def test_an_answer_that_comes_byte_by_byte_has_its_limit_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "_CONNECT_TIMEOUT_S", 0.0)
    way = httpx.MockTransport(lambda _: httpx.Response(200, stream=Endless(b"")))
    async with AsyncPoolClient("http://p", "k", timeout_s=0.05, transport=way) as pool:
        with pytest.raises(LlorchError) as caught:
            await pool.drain()
    assert caught.value.code is Code.TIMEOUT


async def test_pool_registers_and_beats_with_its_secrets(script: Script) -> None:
    register = PoolRegister.model_validate(
        {
            "pool_id": "p", "session_id": "s", "endpoint": "http://p", "control_key": "ck",
            "version": "0.1.0", "devices": [], "workers": [WORKER], "models": [], "engines": [],
        }
    )  # fmt: skip
    beat = Heartbeat(pool_id="p", session_id="s", seq=1, devices=[DEVICE], workers=[WORKER])
    transport = httpx.MockTransport(script)
    async with AsyncOrchestratorClient("http://o", "k", transport=transport) as client:
        assert (await client.register(register)).wanted.revision == 1
        assert (await client.heartbeat(beat)).heartbeat_interval_s == 5
    sent = [json.loads(request.content) for request in script.requests]
    assert sent[0]["control_key"] == "ck"
    assert sent[1]["workers"][0]["key"] == "wk"
