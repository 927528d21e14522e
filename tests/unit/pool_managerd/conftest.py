"""A pool whose workers, devices and models are fakes, and a caller of its API."""

from collections.abc import AsyncIterator
from itertools import count
from pathlib import Path

import httpx
import pytest

from pool_managerd.api.guard import HostGuard
from pool_managerd.app.http import create_app
from pool_managerd.runtime.announcer import Identity, NoLink
from pool_managerd.runtime.downloads import Downloads
from pool_managerd.runtime.drain import DrainSwitch
from pool_managerd.runtime.keyring import Keyring
from pool_managerd.runtime.metrics import PoolMetrics
from pool_managerd.runtime.model_desk import ModelDesk
from pool_managerd.runtime.pool import Pool
from support.fake_library import FakeLibrary
from support.join_desk import join_desk
from support.pool_fakes import FakeDevices, FakeModels, FakeWorkers

OPERATOR_KEY = "the-operator-key"


@pytest.fixture
async def workers() -> FakeWorkers:
    """The supervisor."""
    return FakeWorkers()


@pytest.fixture
def library() -> FakeLibrary:
    """The models; what would take long ends at once."""
    return FakeLibrary(waits=False)


@pytest.fixture
def keyring() -> Keyring:
    """The keys of the pool."""
    return Keyring(OPERATOR_KEY)


@pytest.fixture
def changes() -> list[str]:
    """What the orchestrator would have been told at once."""
    return []


@pytest.fixture
async def pool(
    workers: FakeWorkers,
    library: FakeLibrary,
    keyring: Keyring,
    changes: list[str],
    tmp_path: Path,
) -> AsyncIterator[Pool]:
    """A pool that works alone."""
    metrics = PoolMetrics()
    devices, models = FakeDevices(), FakeModels()
    names = count()
    downloads = Downloads(
        library,
        workers=workers.reports,
        new_id=lambda: f"dwn_{next(names)}",
        monotonic_s=lambda: 0.0,
        on_change=lambda: changes.append("models"),
    )
    metrics.watch(devices.reports, workers.reports, lambda: False)
    metrics.watch_models(models.reports, downloads.tally)
    pool = Pool(
        identity=Identity("attic", "http://127.0.0.1:9200", "1.2.3", ("embedded 1",)),
        instance="cafe",
        stop_grace_s=7.5,
        workers=workers,
        devices=devices,
        models=models,
        announcer=NoLink(),
        metrics=metrics,
        drain=DrainSwitch(tmp_path / "drain.json", lambda: changes.append("drain")),
        desk=ModelDesk(
            library,
            workers=workers.reports,
            devices=devices.reports,
            on_change=lambda: changes.append("models"),
        ),
        downloads=downloads,
        joining=join_desk(tmp_path, keyring),
    )
    yield pool
    pool.begin_stop()
    assert await pool.downloads.rest(10)
    assert await pool.desk.rest(10)


@pytest.fixture
async def api(pool: Pool, keyring: Keyring) -> AsyncIterator[httpx.AsyncClient]:
    """A caller without a key."""
    app = create_app(pool, keyring, HostGuard("127.0.0.1", "box", ["pool.example"]))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9200") as caller:
        yield caller


@pytest.fixture
def operator() -> dict[str, str]:
    """The header that opens everything."""
    return {"authorization": f"Bearer {OPERATOR_KEY}"}
