"""A whole pool in this process: real supervisor, real engine, the API and an orchestrator's word."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from orchestrator_core.catalog.entries import spec_for
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clients.orchestrator import AsyncOrchestratorClient
from orchestrator_core.clock import SystemClock
from orchestrator_core.contracts.pool import WorkerReport, WorkerSpec
from orchestrator_core.errors import Refusal
from orchestrator_core.idgen import IdSource
from orchestrator_core.platforms import select
from pool_core.catalog.host_models import HostModels
from pool_core.workers.supervisor import Supervisor
from pool_managerd.api.guard import HostGuard
from pool_managerd.app.http import create_app
from pool_managerd.runtime.announcer import Announcer, Identity, Target
from pool_managerd.runtime.downloads import Downloads
from pool_managerd.runtime.drain import DrainSwitch
from pool_managerd.runtime.keyring import Keyring
from pool_managerd.runtime.link import Pace
from pool_managerd.runtime.metrics import PoolMetrics
from pool_managerd.runtime.model_desk import ModelDesk
from pool_managerd.runtime.pool import ChangeDesk, Pool
from support.fake_library import FakeLibrary
from support.join_desk import join_desk
from support.pool_fakes import WORKER_ID, FakeDevices, FakeOrchestrator
from support.supervision import processors
from support.waiting import until

READY_TIMEOUT_S = 60.0


@dataclass
class Site:
    """One running pool, a caller of its API and the orchestrator that it reports to."""

    api: httpx.AsyncClient
    orchestrator: FakeOrchestrator
    workers: Supervisor

    async def last_beat_says(self, status: str) -> bool:
        """Tell whether the newest beat shows one worker in this state."""
        beats = self.orchestrator.beats
        return bool(beats) and [it["status"] for it in beats[-1]["workers"]] == [status]


@contextlib.asynccontextmanager
async def running_site(folder: Path) -> AsyncIterator[Site]:
    clock = SystemClock()
    ids, keyring, metrics = IdSource(clock), Keyring("operator-key"), PoolMetrics()
    desk, models, orchestrator = ChangeDesk(metrics), HostModels(), FakeOrchestrator()
    drain = DrainSwitch(folder / "drain.json", desk.drain_changed)
    workers = Supervisor(
        folder=folder,
        models=models,
        platform=select.current(),
        clock=clock,
        ids=ids,
        instance="test",
        worker_program=Path(sys.executable).parent / "llorch-worker",
        host_env=dict(os.environ),
        reserved_ports=frozenset(),
        on_change=desk.workers_changed,
        probe=processors,
        roll=lambda: 0.5,
    )
    (folder / "key").write_text("pool-key")
    identity = Identity("attic", "http://127.0.0.1:9200", "1.2.3", ())
    announcer = Announcer(
        target=Target(lambda: "http://orchestrator", folder / "key"),
        identity=identity,
        workers=workers,
        devices=FakeDevices(),
        models=models,
        keyring=keyring,
        ids=ids,
        dial=lambda url, key: AsyncOrchestratorClient(
            url, key, transport=httpx.ASGITransport(orchestrator)
        ),
        roll=lambda: 0.5,
        count=metrics.count_beat,
        pace=Pace(),
        drain=drain,
    )
    desk.connect(workers, announcer, drain)
    library = FakeLibrary()
    pool = Pool(
        identity=identity,
        instance="test",
        stop_grace_s=5.0,
        workers=workers,
        devices=FakeDevices(),
        models=models,
        announcer=announcer,
        metrics=metrics,
        drain=drain,
        desk=ModelDesk(
            library,
            workers=workers.reports,
            devices=FakeDevices().reports,
            on_change=desk.models_changed,
        ),
        downloads=Downloads(
            library,
            workers=workers.reports,
            new_id=ids.download,
            monotonic_s=clock.monotonic_s,
            on_change=desk.models_changed,
        ),
        joining=join_desk(folder, keyring),
    )
    app = create_app(pool, keyring, HostGuard("127.0.0.1", "box"))
    headers = {"authorization": "Bearer operator-key"}
    api = httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", headers=headers
    )
    async with api, asyncio.TaskGroup() as tasks:
        background = [tasks.create_task(workers.run()), tasks.create_task(announcer.run())]
        try:
            yield Site(api, orchestrator, workers)
        finally:
            await workers.stop_all(5.0)
            for task in background:
                task.cancel()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A pool that has registered."""
    async with running_site(tmp_path) as site:
        await until(lambda: site.orchestrator.registers, what="the registration")
        yield site


def spec(model: str = "tiny-chat") -> WorkerSpec:
    entry = Catalog.load().resolve(model)
    assert not isinstance(entry, Refusal)
    return spec_for(entry)


def wanted(generation: int = 1) -> dict[str, object]:
    return {
        "worker_id": WORKER_ID,
        "generation": generation,
        "spec": spec().model_dump(mode="json"),
    }


async def ask_worker(worker: dict[str, str]) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        headers = {"authorization": f"Bearer {worker['key']}"}
        return (await client.get(f"{worker['url']}/v1/models", headers=headers)).status_code


async def test_a_wanted_worker_is_started_reported_with_its_key_and_stopped(site: Site) -> None:
    site.orchestrator.wanted = [wanted()]
    await until(
        lambda: site.last_beat_says("ready"), timeout_s=READY_TIMEOUT_S, what="a ready worker"
    )
    (worker,) = site.orchestrator.beats[-1]["workers"]
    assert worker["owner"] == "orchestrator"
    assert await ask_worker(worker) == 200
    metrics = (await site.api.get("/metrics")).text
    assert 'pool_mgr_worker_starts_total{outcome="ready"} 1.0' in metrics
    assert worker["key"] not in (await site.api.get("/workers")).text
    site.orchestrator.wanted = []
    await until(
        lambda: site.orchestrator.beats[-1]["workers"] == [], timeout_s=30, what="the worker's end"
    )
    assert 'worker_stops_total{reason="evict"} 1.0' in (await site.api.get("/metrics")).text


async def test_a_persons_worker_survives_an_orchestrator_that_wants_nothing(site: Site) -> None:
    response = await site.api.post("/workers/spawn", json={"spec": spec().model_dump(mode="json")})
    assert response.status_code == 202
    report = WorkerReport.model_validate_json(response.content)
    await until(
        lambda: site.last_beat_says("ready"), timeout_s=READY_TIMEOUT_S, what="a ready worker"
    )
    seen = len(site.orchestrator.beats)
    await until(lambda: len(site.orchestrator.beats) > seen + 3, what="more beats")
    assert await site.last_beat_says("ready")
    stopped = await site.api.post(f"/workers/{report.name}/stop")
    assert stopped.status_code == 200
    assert (await site.api.get("/workers")).json() == {"items": []}


async def test_an_order_is_carried_out_once_and_a_late_one_is_refused(site: Site) -> None:
    site.orchestrator.wanted = [wanted(2)]
    await until(site.workers.reports, what="the wanted worker")
    first = await site.api.post("/workers/spawn", json=wanted(2))
    again = await site.api.post("/workers/spawn", json=wanted(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["pid"] == again.json()["pid"]
    assert len(site.workers.reports()) == 1
    late = await site.api.post("/workers/spawn", json=wanted(1))
    assert late.status_code == 409
    assert late.json()["error"]["code"] == "STALE_GENERATION"


async def test_an_impossible_order_is_refused_with_its_reason(site: Site) -> None:
    order = {"spec": {**spec().model_dump(mode="json"), "backend": "cuda"}}
    response = await site.api.post("/workers/spawn", json=order)
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "BACKEND_UNAVAILABLE"
