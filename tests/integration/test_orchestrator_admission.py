"""One gate for both APIs: bounds, classes, quotas, allow-lists and deadlines, before anything runs."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.contracts.tasks import Priority, TaskKind
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import JobId
from orchestrator_core.scheduler.machine import Machine
from orchestrator_core.scheduler.outlook import Forecast, Supply
from orchestratord.store.memory import MemoryStore
from support.fake_engine import FakeEngine
from support.orchestrator import Orchestrator, chat_body, ready_worker, running_orchestrator
from support.waiting import until

BODY = {"model": "tiny-chat", "prompt": "x"}


@pytest.fixture
async def empty(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    """An orchestrator that no pool has come to: everything waits."""
    async with running_orchestrator(tmp_path) as site:
        yield site
        assert site.failures == []


def as_holder(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def submit(site: Orchestrator, key: str | None = None, **more: object) -> httpx.Response:
    headers = as_holder(key) if key else {}
    return await site.client.post("/v2/tasks", json={**BODY, **more}, headers=headers)


async def ask(site: Orchestrator, key: str | None = None, **more: object) -> httpx.Response:
    headers = as_holder(key) if key else {}
    body = chat_body("x", **more)
    return await site.client.post("/v1/chat/completions", json=body, headers=headers)


def must_be_refused(reply: httpx.Response, status: int, code: Code) -> str:
    """Fail unless a reply refuses so, in its dialect and with a time to come back where it helps."""
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert error["code"] in (code, code.lower())
    if status in (429, 503):
        assert 1 <= int(reply.headers["retry-after"]) <= 60
    assert "\n" not in error["message"]
    return str(error["message"])


# Bounds of the queue.


@pytest.mark.parametrize(
    ("bound", "admitted"),
    [("queue_limit", 3), ("key_queue_limit", 3), ("model_queue_limit", 3)],
)
async def test_a_full_queue_refuses_both_apis_until_a_job_has_left(
    tmp_path: Path, bound: str, admitted: int
) -> None:
    settings: dict[str, Any] = {bound: admitted}
    async with running_orchestrator(tmp_path, **settings) as site:
        jobs = [await site.submit() for _ in range(admitted)]
        assert bound in must_be_refused(await submit(site), 429, Code.QUEUE_FULL)
        assert bound in must_be_refused(await ask(site), 429, Code.QUEUE_FULL)
        assert len(site.parts.jobs) == len(site.parts.ledger) == admitted
        await site.client.delete(f"/v2/tasks/{jobs[0]}")
        await site.submit()
        must_be_refused(await submit(site), 429, Code.QUEUE_FULL)


async def test_one_key_and_one_model_leave_room_for_others(tmp_path: Path) -> None:
    async with running_orchestrator(tmp_path, key_queue_limit=1, model_queue_limit=2) as site:
        one, other = await site.make_key("user"), await site.make_key("user")
        assert (await submit(site, one)).status_code == 202
        must_be_refused(await submit(site, one), 429, Code.QUEUE_FULL)
        assert (await submit(site, other)).status_code == 202
        must_be_refused(await submit(site), 429, Code.QUEUE_FULL)
        assert (await submit(site, model="tiny-story")).status_code == 202


async def test_a_warm_model_is_bounded_as_a_cold_one_is(tmp_path: Path, engine: FakeEngine) -> None:
    async with running_orchestrator(tmp_path, model_queue_limit=2) as site:
        await site.register(ready_worker(engine.port))
        running = await site.submit()
        call = await engine.next_call()
        await site.submit()
        must_be_refused(await submit(site), 429, Code.QUEUE_FULL)
        await call.answer("a")
        await site.ended(running)
        assert (await submit(site)).status_code == 202


# Loads.


async def test_only_so_many_wait_for_a_model_that_loads(tmp_path: Path, engine: FakeEngine) -> None:
    async with running_orchestrator(tmp_path, load_waiters_limit=2) as site:
        await site.register(ready_worker(engine.port, status=WorkerStatus.LOADING))
        await site.submit()
        await site.submit()
        must_be_refused(await submit(site), 503, Code.LOADING)
        must_be_refused(await ask(site), 503, Code.LOADING)
        assert (await submit(site, model="tiny-story")).status_code == 202
        await site.beat(ready_worker(engine.port))
        assert (await submit(site)).status_code == 202


async def test_without_any_pool_the_bounds_of_the_queue_alone_hold(tmp_path: Path) -> None:
    async with running_orchestrator(tmp_path, load_waiters_limit=1) as site:
        for _ in range(5):
            await site.submit()


async def test_the_forecast_of_a_load_is_when_to_come_back(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_orchestrator(tmp_path, load_waiters_limit=1) as site:
        await site.register(ready_worker(engine.port, status=WorkerStatus.LOADING))
        await site.submit()
        forecast_is(monkeypatch, 17.2)
        assert (await submit(site)).headers["retry-after"] == "18"
        forecast_is(monkeypatch, 900.0)
        assert (await ask(site)).headers["retry-after"] == "60"


async def test_what_nothing_will_serve_is_said_at_once(
    empty: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    reason = Refusal(Code.NO_CAPACITY, "it failed to start on home", retry_after_s=30)
    found = Supply(slots_open=0, coming=False, waiting=0, refusal=reason)

    def supply(*_: object) -> Supply:
        return found

    monkeypatch.setattr(Machine, "supply", supply)
    for reply in (await submit(empty), await ask(empty)):
        assert must_be_refused(reply, 503, Code.NO_CAPACITY) == reason.message
        assert reply.headers["retry-after"] == "30"
    assert len(empty.parts.jobs) == len(empty.parts.ledger) == 0


# Deadlines.


def forecast_is(monkeypatch: pytest.MonkeyPatch, start_in_s: float | None) -> None:
    def forecast(*_: object) -> Forecast:
        return Forecast(start_in_s=start_in_s, run_s=None)

    monkeypatch.setattr(Machine, "forecast", forecast)


async def test_a_deadline_that_cannot_be_met_is_refused_at_once(
    empty: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast_is(monkeypatch, 40.0)
    told = must_be_refused(await submit(empty, deadline_ms=5_000), 504, Code.DEADLINE)
    assert "about 40 s" in told
    assert (await submit(empty, deadline_ms=60_000)).status_code == 202
    forecast_is(monkeypatch, None)
    assert (await submit(empty, deadline_ms=5_000)).status_code == 202
    assert len(empty.parts.ledger) == 2


# Keys: quotas, allow-lists, classes and weights.


async def test_a_key_has_only_so_many_jobs_at_one_time(empty: Orchestrator) -> None:
    key = await empty.make_key("user", concurrent_jobs=1)
    first = (await submit(empty, key)).json()["job_id"]
    must_be_refused(await submit(empty, key), 429, Code.QUOTA)
    must_be_refused(await ask(empty, key), 429, Code.QUOTA)
    await empty.client.delete(f"/v2/tasks/{first}")
    assert (await submit(empty, key)).status_code == 202


async def test_a_key_may_ask_only_so_often(empty: Orchestrator) -> None:
    key = await empty.make_key("user", requests_per_minute=2)
    for _ in range(2):
        assert (await submit(empty, key)).status_code == 202
    refused = await submit(empty, key)
    must_be_refused(refused, 429, Code.RATE)
    must_be_refused(await ask(empty, key), 429, Code.RATE)
    empty.clock.advance(int(refused.headers["retry-after"]))
    assert (await submit(empty, key)).status_code == 202


def masked(reply: httpx.Response, name: str) -> tuple[int, str]:
    error = dict(reply.json()["error"])
    error.pop("correlation_id", None)
    return reply.status_code, repr(error).replace(name, "NAME")


@pytest.mark.parametrize("forbidden", ["tiny-story", "qwen", "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF"])
async def test_a_forbidden_model_looks_like_an_unknown_one(
    empty: Orchestrator, forbidden: str
) -> None:
    key = await empty.make_key("user", models=("tiny-chat",))
    assert (await submit(empty, key)).status_code == 202
    for way in (submit, ask):
        unknown = masked(await way(empty, key, model="no-such-model"), "no-such-model")
        assert masked(await way(empty, key, model=forbidden), forbidden) == unknown
        assert unknown[0] == 404
        assert "tiny-story" not in unknown[1]


async def test_a_model_of_its_own_that_is_gone_tells_a_key_of_no_other(empty: Orchestrator) -> None:
    key = await empty.make_key("user", models=("tiny-chat", "tiny-stories"))
    for way in (submit, ask):
        _, told = masked(await way(empty, key, model="tiny-stories"), "tiny-stories")
        assert "this key may use: tiny-chat" in told
        assert "tiny-story" not in told
    listed = await empty.client.get("/v1/models/tiny-stories", headers=as_holder(key))
    assert (listed.status_code, "tiny-story" in listed.text.replace("tiny-stories", "")) == (
        404,
        False,
    )


def facts_of(site: Orchestrator, job_id: str) -> Any:
    return site.parts.loop.machine.state.jobs[JobId(job_id)].facts


async def test_class_and_weight_of_a_key_reach_the_machine_and_the_row(empty: Orchestrator) -> None:
    key = await empty.make_key("user", priority=Priority.BATCH, weight=7)
    # A submission cannot raise what its key has.
    job_id = (await submit(empty, key, priority="interactive")).json()["job_id"]
    assert (facts_of(empty, job_id).priority, facts_of(empty, job_id).weight) == ("batch", 7)
    row = await empty.store.job(JobId(job_id))
    assert row is not None
    assert (row.priority, row.weight) == (Priority.BATCH, 7)


async def test_a_header_lowers_the_class_on_both_apis(empty: Orchestrator) -> None:
    lower = {"x-llorch-priority": "batch"}
    reply = await empty.client.post("/v2/tasks", json=BODY, headers=lower)
    assert facts_of(empty, reply.json()["job_id"]).priority == "batch"
    asked = asyncio.create_task(
        empty.client.post("/v1/chat/completions", json=chat_body(), headers=lower)
    )

    async def waits() -> list[Any]:
        jobs = empty.parts.loop.machine.state.jobs.values()
        return [job.facts for job in jobs if not job.facts.durable]

    (facts,) = await until(waits, what="the call to wait")
    assert facts.priority == "batch"
    view = (await empty.client.get(f"/v2/tasks/{facts.id}")).json()
    assert view["priority"] == "batch"
    await empty.client.delete(f"/v2/tasks/{facts.id}")
    await asked
    for path, body in (("/v2/tasks", BODY), ("/v1/chat/completions", chat_body())):
        for value in ("interactive", "urgent", ""):
            headers = {"x-llorch-priority": value}
            refused = await empty.client.post(path, json=body, headers=headers)
            must_be_refused(refused, 400, Code.INVALID_REQUEST)


# The end of a daemon, and of its disk.


async def test_a_daemon_that_stops_takes_nothing_new(empty: Orchestrator) -> None:
    empty.stopping.set()
    must_be_refused(await submit(empty), 503, Code.DRAINING)
    must_be_refused(await ask(empty), 503, Code.DRAINING)


async def test_a_low_disk_refuses_jobs_but_not_calls(
    site: Orchestrator, engine: FakeEngine
) -> None:
    low = Refusal(Code.DISK_LOW, "1 MiB is free under /data: make room", retry_after_s=30)
    site.store.low_on_space = low
    assert must_be_refused(await submit(site), 503, Code.DISK_LOW) == low.message
    asked = asyncio.create_task(ask(site))
    await (await engine.next_call()).answer("a")
    assert (await asked).status_code == 200
    site.store.low_on_space = None
    assert (await submit(site)).status_code == 202


async def test_restored_jobs_hold_their_places(tmp_path: Path) -> None:
    store = MemoryStore()
    async with running_orchestrator(tmp_path, store=store) as site:
        key = await site.make_key("user", weight=3, priority=Priority.BATCH)
        jobs = [(await submit(site, key)).json()["job_id"] for _ in range(3)]
    async with running_orchestrator(tmp_path, store=store, queue_limit=3) as site:
        assert len(site.parts.ledger) == 3
        must_be_refused(await submit(site), 429, Code.QUEUE_FULL)
        assert {(facts_of(site, it).weight, facts_of(site, it).priority) for it in jobs} == {
            (3, "batch")
        }
        await site.client.delete(f"/v2/tasks/{jobs[0]}")
        assert (await submit(site)).status_code == 202


async def test_good_news_of_a_model_is_asked_for_anew_each_second(
    tmp_path: Path, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ServiceKey] = []
    supply = Machine.supply

    def watched(self: Machine, key: ServiceKey, pin: Any) -> Supply:
        asked.append(key)
        return replace(supply(self, key, pin))

    monkeypatch.setattr(Machine, "supply", watched)
    async with running_orchestrator(tmp_path) as site:
        await site.submit()
        await site.submit()
        assert asked == [ServiceKey("tiny-chat", TaskKind.GENERATE)] * 2
        await site.register(ready_worker(engine.port))
        for _ in range(4):
            await site.submit()
        assert len(asked) == 3
        site.clock.advance(1.0)
        await site.submit()
        assert len(asked) == 4
