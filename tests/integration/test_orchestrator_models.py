"""Which models clients are offered follows what pools say that they hold."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from orchestrator_core.contracts.pool import ModelReport
from support.orchestrator import Orchestrator, running_orchestrator

NAME = "hf:org/repo:Q4_K_M"
HELD = ModelReport(
    id=NAME,
    file="model-Q4_K_M.gguf",
    size_bytes=5_000_000,
    sha256="b" * 64,
    source="hub",
    repo="org/repo",
    commit="a" * 40,
)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    async with running_orchestrator(tmp_path) as site:
        yield site
        assert site.failures == []


async def tell(site: Orchestrator, *models: ModelReport) -> list[dict[str, object]]:
    """Beat with these models; returns the workers that the pool shall start."""
    body = site.beat_body(seq=1_000_000, models=[it.model_dump(mode="json") for it in models])
    reply = await site.as_pool("/v2/pools/home/heartbeat", body)
    assert reply.status_code == 200, reply.text
    return reply.json()["wanted"]["workers"]


async def test_a_model_that_no_host_holds_is_refused_with_the_command_that_brings_it(
    site: Orchestrator,
) -> None:
    await site.register()
    task = await site.client.post("/v2/tasks", json={"model": NAME, "prompt": "Hello"})
    assert (task.status_code, task.json()["error"]["code"]) == (409, "MODEL_NOT_PULLED")
    command = f"`llorch-pool models download {NAME}`"
    assert command in task.json()["error"]["message"]
    messages = [{"role": "user", "content": "Hello"}]
    chat = await site.client.post(
        "/v1/chat/completions", json={"model": NAME, "messages": messages}
    )
    assert (chat.status_code, chat.json()["error"]["code"]) == (404, "model_not_found")
    assert command in chat.json()["error"]["message"]


async def test_a_model_that_was_fetched_meanwhile_is_listed_and_gets_its_worker(
    site: Orchestrator,
) -> None:
    await site.register()
    assert await tell(site, HELD) == []
    listed = (await site.client.get("/v1/models")).json()["data"]
    assert NAME in [card["id"] for card in listed]
    shown = await site.client.get(f"/v1/models/{quote(NAME, safe='')}")
    assert (shown.status_code, shown.json()["id"]) == (200, NAME)
    task = await site.client.post("/v2/tasks", json={"model": "hf:org/repo", "prompt": "Hello"})
    assert task.status_code == 202, task.text
    job = (await site.client.get(f"/v2/tasks/{task.json()['job_id']}")).json()
    assert job["model"] == NAME
    (pool,) = site.parts.loop.machine.pools()
    (wanted,) = site.parts.loop.machine.wanted(pool.pool_id).workers
    model = wanted.spec.model
    assert (model.model_id, model.source, model.sha256) == (NAME, "hub", HELD.sha256)
    assert wanted.spec.ctx is None


async def test_a_model_that_was_deleted_is_offered_no_more(site: Orchestrator) -> None:
    await site.register()
    await tell(site, HELD)
    body = site.beat_body(seq=1_000_001, models=[])
    assert (await site.as_pool("/v2/pools/home/heartbeat", body)).status_code == 200
    task = await site.client.post("/v2/tasks", json={"model": NAME, "prompt": "Hello"})
    assert (task.status_code, task.json()["error"]["code"]) == (409, "MODEL_NOT_PULLED")
