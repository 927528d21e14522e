"""The real API and the real session of a pool in the test's own loop; its workers are on paper."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator_core.clients.orchestrator import AsyncOrchestratorClient
from orchestrator_core.clock import SystemClock
from orchestrator_core.daemon.presence import url_of
from orchestrator_core.daemon.tls import ServerTls
from orchestrator_core.idgen import IdSource
from pool_managerd.api.guard import HostGuard, KeyGuard
from pool_managerd.api.relay import RelayJudge
from pool_managerd.app.http import create_app
from pool_managerd.runtime.announcer import Announcer, Identity, Target
from pool_managerd.runtime.downloads import Downloads
from pool_managerd.runtime.drain import DrainSwitch
from pool_managerd.runtime.keyring import Keyring
from pool_managerd.runtime.link import Pace
from pool_managerd.runtime.metrics import PoolMetrics
from pool_managerd.runtime.model_desk import ModelDesk
from pool_managerd.runtime.pool import ChangeDesk, Pool
from pool_managerd.runtime.ports import ModelLibrary, Models
from pool_managerd.runtime.session import SessionDesk
from pool_managerd.serving.places import Places
from pool_managerd.serving.relay import Relays
from pool_managerd.serving.server import EmbeddedServer
from support.fake_library import FakeLibrary
from support.join_desk import join_desk
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
    keyring: Keyring
    relays: Relays


@contextlib.asynccontextmanager
async def running_pool(
    folder: Path,
    *,
    orchestrator_url: str | None = None,
    key_file: Path | None = None,
    library: ModelLibrary | None = None,
    models: Models | None = None,
    tls: ServerTls | None = None,
    relays_limit: int = 1000,
    head_s: float = 10.0,
    body_s: float = 10.0,
    places: Places | None = None,
    is_alive: Callable[[int], bool] = lambda _: True,
) -> AsyncGenerator[PoolSite]:
    """Serve a pool; with an orchestrator's address it also registers there."""
    listener = socket.create_server(("127.0.0.1", 0))
    url = url_of(listener, encrypted=tls is not None)
    workers, devices, models = FakeWorkers(), FakeDevices(), models or FakeModels()
    library, ids = library or FakeLibrary(), IdSource(SystemClock())
    metrics, keyring = PoolMetrics(), Keyring(OPERATOR_KEY)
    desk = ChangeDesk(metrics)
    drain = DrainSwitch(folder / "drain.json", desk.drain_changed)
    identity = Identity("home", url, "0.1.0", ("embedded 1",))
    session = SessionDesk()
    target = Target(session.find, None, session.there)
    if orchestrator_url is not None:
        target = Target(lambda: orchestrator_url, key_file or folder / "local-pool.key")
    announcer = Announcer(
        target=target,
        identity=identity,
        workers=workers,
        devices=devices,
        models=models,
        keyring=keyring,
        ids=ids,
        dial=AsyncOrchestratorClient if orchestrator_url else lambda _url, _key: session.link(),
        roll=lambda: 0.5,
        count=metrics.count_beat,
        pace=Pace(first_s=0.05, longest_s=0.1),
        drain=drain,
    )
    session.connect(announcer.summon)
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
        joining=join_desk(
            folder, keyring, on_joined=lambda: session.close("an orchestrator has joined anew")
        ),
        session=session,
    )
    hosts = HostGuard("127.0.0.1", "box")
    judge = RelayJudge(workers, KeyGuard(keyring), hosts, is_alive=is_alive)
    relays = Relays(judge.judge, judge.say, limit=relays_limit)
    metrics.watch_relays(relays.tally)
    server = EmbeddedServer(
        create_app(pool, keyring, hosts),
        tls.context if tls else None,
        relays,
        head_s=head_s,
        body_s=body_s,
        places=places,
        to_plain=judge.say_scheme,
    )
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        speaking = tasks.create_task(announcer.run())
        try:
            yield PoolSite(url, pool, workers, server, keyring, relays)
        finally:
            pool.begin_stop()
            speaking.cancel()
            server.should_exit = True
            await serving
            listener.close()
            assert await pool.downloads.rest(10)
            assert await pool.desk.rest(10)
