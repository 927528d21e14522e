"""The real API and the real session of a pool in the test's own loop; its workers are on paper."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from orchestrator_core.clients.orchestrator import AsyncOrchestratorClient
from orchestrator_core.clock import SystemClock
from orchestrator_core.idgen import IdSource
from pool_managerd.api.guard import HostGuard
from pool_managerd.app.http import create_app
from pool_managerd.runtime.announcer import Announcer, Identity, NoLink, Target
from pool_managerd.runtime.downloads import Downloads
from pool_managerd.runtime.drain import DrainSwitch
from pool_managerd.runtime.keyring import Keyring
from pool_managerd.runtime.link import Pace
from pool_managerd.runtime.metrics import PoolMetrics
from pool_managerd.runtime.model_desk import ModelDesk
from pool_managerd.runtime.pool import ChangeDesk, Pool
from pool_managerd.runtime.ports import ModelLibrary, Models
from pool_managerd.serving.server import EmbeddedServer
from support.fake_library import FakeLibrary
from support.pool_fakes import FakeDevices, FakeModels, FakeWorkers

__all__ = ["OPERATOR_KEY", "PoolSite", "running_pool"]

OPERATOR_KEY = "the-operator-key"


@dataclass
class PoolSite:
    """One running pool."""

    url: str
    pool: Pool
    workers: FakeWorkers
    server: EmbeddedServer


@contextlib.asynccontextmanager
async def running_pool(
    folder: Path,
    *,
    orchestrator_url: str | None = None,
    key_file: Path | None = None,
    library: ModelLibrary | None = None,
    models: Models | None = None,
) -> AsyncIterator[PoolSite]:
    """Serve a pool; with an orchestrator's address it also registers there."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    workers, devices, models = FakeWorkers(), FakeDevices(), models or FakeModels()
    library, ids = library or FakeLibrary(), IdSource(SystemClock())
    metrics, keyring = PoolMetrics(), Keyring(OPERATOR_KEY)
    desk = ChangeDesk(metrics)
    drain = DrainSwitch(folder / "drain.json", desk.drain_changed)
    identity = Identity("home", url, "1.2.3", ("embedded 1",))
    announcer: Announcer | NoLink = NoLink()
    if orchestrator_url is not None:
        announcer = Announcer(
            target=Target(lambda: orchestrator_url, key_file or folder / "local-pool.key"),
            identity=identity,
            workers=workers,
            devices=devices,
            models=models,
            keyring=keyring,
            ids=ids,
            dial=AsyncOrchestratorClient,
            roll=lambda: 0.5,
            count=metrics.count_beat,
            pace=Pace(first_s=0.05, longest_s=0.1),
            drain=drain,
        )
    desk.connect(workers, announcer, drain)
    pool = Pool(
        identity=identity,
        instance="cafe",
        stop_grace_s=1.0,
        workers=workers,
        devices=devices,
        models=models,
        announcer=announcer,
        metrics=metrics,
        drain=drain,
        desk=ModelDesk(
            library,
            workers=workers.reports,
            devices=devices.reports,
            on_change=desk.models_changed,
        ),
        downloads=Downloads(
            library,
            workers=workers.reports,
            new_id=ids.download,
            monotonic_s=SystemClock().monotonic_s,
            on_change=desk.models_changed,
        ),
    )
    server = EmbeddedServer(create_app(pool, keyring, HostGuard("127.0.0.1", "box")))
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        speaking = tasks.create_task(announcer.run())
        try:
            yield PoolSite(url, pool, workers, server)
        finally:
            pool.begin_stop()
            speaking.cancel()
            server.should_exit = True
            await serving
            listener.close()
            assert await pool.downloads.rest(10)
            assert await pool.desk.rest(10)
