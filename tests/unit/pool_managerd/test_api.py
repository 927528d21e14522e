"""What the pool answers: views without keys, orders and the lines that explain a bad one."""

import httpx
import pytest

from orchestrator_core.contracts.pool import (
    Owner,
    PoolStatusView,
    WorkerList,
    WorkerReport,
    WorkerStatus,
)
from orchestrator_core.errors import Code, Refusal
from pool_managerd.runtime.metrics import PoolMetrics
from pool_managerd.runtime.pool import ChangeDesk, Pool
from support.pool_fakes import SPEC, WORKER_ID, FakeWorkers, make_worker

SPAWN = {"spec": SPEC.model_dump(mode="json")}


@pytest.fixture
async def caller(api: httpx.AsyncClient, operator: dict[str, str]) -> httpx.AsyncClient:
    """The operator."""
    api.headers.update(operator)
    return api


async def test_health_says_who_is_there_and_nothing_else(api: httpx.AsyncClient) -> None:
    health = (await api.get("/health")).json()
    assert health == {
        "status": "ok",
        "reasons": [],
        "product": "pool-managerd",
        "instance": "cafe",
    }


async def test_status_sums_the_pool_up(caller: httpx.AsyncClient, workers: FakeWorkers) -> None:
    workers.workers[WORKER_ID] = make_worker()
    status = PoolStatusView.model_validate_json((await caller.get("/status")).content)
    assert status.pool_id == "attic"
    assert status.version == "1.2.3"
    assert not status.orchestrator_connected
    assert [device.id for device in status.devices] == ["cpu"]
    assert [model.id for model in status.models] == ["tiny-chat"]


@pytest.mark.parametrize("path", ["/status", "/workers", "/metrics"])
async def test_no_view_shows_a_worker_key(
    caller: httpx.AsyncClient, workers: FakeWorkers, path: str
) -> None:
    workers.workers[WORKER_ID] = make_worker()
    assert "the-worker-key" not in (await caller.get(path)).text


async def test_lists_devices_and_workers(caller: httpx.AsyncClient, workers: FakeWorkers) -> None:
    workers.workers[WORKER_ID] = make_worker()
    assert (await caller.get("/devices")).json()["items"][0]["name"] == "Test CPU"
    listed = WorkerList.model_validate_json((await caller.get("/workers")).content)
    assert [worker.id for worker in listed.items] == [WORKER_ID]


async def test_a_spawn_without_an_id_is_a_persons(
    caller: httpx.AsyncClient, workers: FakeWorkers
) -> None:
    response = await caller.post("/workers/spawn", json=SPAWN)
    assert response.status_code == 202
    report = WorkerReport.model_validate_json(response.content)
    assert report.owner is Owner.OPERATOR
    assert report.key is None
    assert workers.spawned[0][1] is Owner.OPERATOR


async def test_a_spawn_with_an_id_is_the_orchestrators(
    caller: httpx.AsyncClient, workers: FakeWorkers
) -> None:
    order = {**SPAWN, "worker_id": WORKER_ID, "generation": 3}
    assert (await caller.post("/workers/spawn", json=order)).status_code == 202
    assert workers.spawned[0][0].generation == 3
    assert workers.spawned[0][1] is Owner.ORCHESTRATOR


async def test_a_refusal_of_the_supervisor_keeps_its_code_and_details(
    caller: httpx.AsyncClient, workers: FakeWorkers
) -> None:
    workers.answer = Refusal(Code.STALE_GENERATION, "too old", {"generation": 4})
    response = await caller.post("/workers/spawn", json=SPAWN)
    assert response.status_code == 409
    assert response.json()["error"]["code"] == "STALE_GENERATION"
    assert response.json()["error"]["details"] == {"generation": 4}


async def test_a_refusal_that_may_pass_says_when_to_come_back(
    caller: httpx.AsyncClient, workers: FakeWorkers
) -> None:
    workers.answer = Refusal(Code.NO_CAPACITY, "no port is free", retry_after_s=9)
    response = await caller.post("/workers/spawn", json=SPAWN)
    assert response.status_code == 503
    assert response.headers["retry-after"] == "9"


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({}, 'field "spec" is missing'),
        ({**SPAWN, "colour": "red"}, 'unknown field "colour"'),
        ({"spec": {**SPAWN["spec"], "ctx": 1}}, 'field "spec.ctx": input should be greater'),
        ({"spec": {**SPAWN["spec"], "gpu": 1}}, 'unknown field "spec.gpu"'),
        ({**SPAWN, "worker_id": "../../x"}, 'field "worker_id": string should match'),
        ({**SPAWN, "generation": 0, "colour": 1}, "(and 1 more)"),
    ],
)
async def test_a_bad_order_is_explained_in_one_line_that_names_the_field(
    caller: httpx.AsyncClient, workers: FakeWorkers, body: dict[str, object], line: str
) -> None:
    response = await caller.post("/workers/spawn", json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["code"] == "INVALID_REQUEST"
    assert line in error["message"]
    assert workers.spawned == []


@pytest.mark.parametrize(
    ("content", "kind", "line"),
    [
        (b"{nonsense", "application/json", "the body is not valid JSON"),
        (b'{"worker_id": "\\ud800"}', "application/json", "the body is not valid JSON"),
        (b"\xff\xfe", "application/json", ""),
        (b"[1, 2]", "application/json", "the body must be a JSON object"),
        (b"", "application/json", "the body must be a JSON object"),
        (b'{"spec": {}}', "text/plain", "the body must be a JSON object"),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    caller: httpx.AsyncClient, content: bytes, kind: str, line: str
) -> None:
    headers = {"content-type": kind}
    response = await caller.post("/workers/spawn", content=content, headers=headers)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "INVALID_REQUEST"
    assert line in response.json()["error"]["message"]
    assert response.json()["error"]["details"] is None


async def test_stops_a_worker_with_the_named_or_the_configured_grace(
    caller: httpx.AsyncClient, workers: FakeWorkers
) -> None:
    for body in (None, {}, {"grace_s": 2}):
        workers.workers[WORKER_ID] = make_worker()
        response = await caller.post(f"/workers/{WORKER_ID}/stop", json=body)
        assert response.status_code == 200
        report = WorkerReport.model_validate_json(response.content)
        assert report.status is WorkerStatus.STOPPED
        assert report.key is None
    assert workers.stopped == [(WORKER_ID, 7.5), (WORKER_ID, 7.5), (WORKER_ID, 2.0)]


async def test_stopping_an_unknown_worker_is_not_found(caller: httpx.AsyncClient) -> None:
    response = await caller.post("/workers/worker-cpu-9/stop")
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "WORKER_NOT_FOUND"


async def test_a_late_stop_does_not_end_a_newer_generation(
    caller: httpx.AsyncClient, workers: FakeWorkers
) -> None:
    workers.workers[WORKER_ID] = make_worker(generation=3)
    late = await caller.post(f"/workers/{WORKER_ID}/stop", json={"generation": 2})
    assert late.status_code == 409
    assert late.json()["error"]["code"] == "STALE_GENERATION"
    assert workers.stopped == []
    timely = await caller.post(f"/workers/{WORKER_ID}/stop", json={"generation": 3})
    assert timely.status_code == 200


async def test_metrics_count_workers_starts_and_memory(
    caller: httpx.AsyncClient, workers: FakeWorkers, pool: Pool
) -> None:
    desk = ChangeDesk(pool.metrics)
    desk.connect(workers, pool.announcer, pool.drain)
    for status in (WorkerStatus.STARTING, WorkerStatus.READY):
        workers.workers[WORKER_ID] = make_worker(status=status)
        desk.workers_changed()
    response = await caller.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()
    assert "pool_mgr_gpus_total 0.0" in lines
    assert 'pool_mgr_workers_total{status="ready"} 1.0' in lines
    assert 'pool_mgr_workers_total{status="failed"} 0.0' in lines
    assert 'pool_mgr_worker_starts_total{outcome="ready"} 1.0' in lines
    assert 'pool_mgr_worker_stops_total{reason="crash"} 0.0' in lines
    assert any(line.startswith("pool_mgr_device_memory_free_bytes{") for line in lines)
    assert 'pool_mgr_device_memory_total_bytes{device="cpu",kind="cpu"} 8.589934592e+09' in lines
    assert "pool_mgr_orchestrator_connected 0.0" in lines


def test_two_pools_in_one_process_have_metrics_of_their_own() -> None:
    PoolMetrics().count_beat("accepted")
    assert b'outcome="accepted"' not in PoolMetrics().render()
