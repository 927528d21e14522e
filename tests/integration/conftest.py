"""A scripted engine and an orchestrator that knows it, for the tests that need no more."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from orchestratord.store.sqlite import SqliteStore, StoreOptions
from support.fake_engine import FakeEngine
from support.openai_server import OpenAiServer
from support.orchestrator import Orchestrator, ready_worker, running_orchestrator


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    """An engine that says only what the test tells it."""
    async with FakeEngine.listening() as engine:
        yield engine


@pytest.fixture
async def site(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Orchestrator]:
    """An orchestrator with a real store and one ready worker; it must outlive its test unharmed."""
    options = StoreOptions(synchronous="NORMAL")
    store = await SqliteStore.open(tmp_path / "orchestrator.db", options)
    try:
        async with running_orchestrator(tmp_path, store=store) as site:
            await site.register(ready_worker(engine.port))
            yield site
            assert site.failures == []
            assert (await site.client.get("/readyz")).status_code in (200, 503)
    finally:
        await store.close()


@pytest.fixture
def server() -> Iterator[OpenAiServer]:
    """A server that somebody else runs."""
    with OpenAiServer() as server:
        yield server
