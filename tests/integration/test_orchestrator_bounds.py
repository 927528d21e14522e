"""Bounds that hold to the job and to the byte: under load, for every field, after every failure."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator_core.errors import Code
from orchestratord.store.sqlite import SqliteStore, StoreOptions
from support.orchestrator import Orchestrator, running_orchestrator


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    """An orchestrator that no pool has come to: everything waits."""
    async with running_orchestrator(tmp_path) as site:
        yield site
        assert site.failures == []


async def submit(site: Orchestrator, **more: object) -> httpx.Response:
    return await site.client.post("/v2/tasks", json={"model": "tiny-chat", "prompt": "x", **more})


async def ask(site: Orchestrator, **more: Any) -> httpx.Response:
    return await site.ask("x", **more)


def must_be_refused(reply: httpx.Response, status: int, code: Code) -> None:
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["code"] in (code, code.lower())
    if status == 429:
        assert 1 <= int(reply.headers["retry-after"]) <= 60


async def test_the_bound_is_exact_when_all_come_at_one_moment(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path / "jobs.db", StoreOptions(ballast_bytes=0))
    try:
        async with running_orchestrator(tmp_path, store=store, queue_limit=10) as site:
            site.client.headers["connection"] = "close"
            replies = await asyncio.gather(*(submit(site, prompt=str(n)) for n in range(60)))
            assert Counter(it.status_code for it in replies) == {202: 10, 429: 50}
            for reply in replies:
                if reply.status_code == 202:
                    await site.client.delete(f"/v2/tasks/{reply.json()['job_id']}")
            assert (len(site.parts.ledger), site.parts.ledger.size_bytes) == (0, 0)
            assert (await submit(site)).status_code == 202
    finally:
        await store.close()


async def test_the_bytes_of_all_requests_are_bounded(tmp_path: Path) -> None:
    async with running_orchestrator(tmp_path, queue_bytes_limit=1000) as site:
        await site.submit("a" * 500)
        must_be_refused(await submit(site, prompt="b" * 500), 429, Code.QUEUE_FULL)
        assert (await submit(site, prompt="b" * 300)).status_code == 202
        must_be_refused(await submit(site, prompt="c" * 1001), 413, Code.TOO_LARGE)
        assert 800 < await site.metric("orchd_queue_bytes") < 1000


@pytest.mark.parametrize(
    "more",
    [
        {"metadata": {"note": "x" * 900}},
        {"stop": ["x" * 225] * 4},
        {"response_format": {"type": "json_object", "x": "y" * 900}},
    ],
    ids=["metadata", "stop", "format"],
)
async def test_every_field_of_a_request_counts_not_only_its_prompt(
    tmp_path: Path, more: dict[str, Any]
) -> None:
    async with running_orchestrator(tmp_path, queue_bytes_limit=1500) as site:
        assert (await submit(site, **more)).status_code == 202
        must_be_refused(await submit(site, **more), 429, Code.QUEUE_FULL)


@pytest.mark.parametrize(
    "more",
    [
        {"grammar": "x" * 900},
        {"json_schema": {"x": "y" * 900}},
        {"logit_bias": {str(token): 1.0 for token in range(90)}},
    ],
    ids=["grammar", "schema", "bias"],
)
async def test_every_field_of_a_call_counts_too(tmp_path: Path, more: dict[str, Any]) -> None:
    async with (
        running_orchestrator(tmp_path, queue_bytes_limit=1500) as site,
        site.chat(**more) as first,
    ):
        assert first.response.status_code == 200
        must_be_refused(await ask(site, **more), 429, Code.QUEUE_FULL)


@pytest.mark.parametrize(
    ("part", "send"),
    [("row_of", submit), ("task_wording", submit), ("chat_wording", ask), ("arrival_of", ask)],
)
async def test_an_admission_that_breaks_leaves_nothing(
    empty: Orchestrator,
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    send: Callable[[Orchestrator], Awaitable[httpx.Response]],
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(f"orchestratord.serving.gate.{part}", broken)
    assert (await send(empty)).status_code == 500
    assert (len(empty.parts.ledger), len(empty.parts.jobs)) == (0, 0)
