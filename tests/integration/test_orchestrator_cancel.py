"""A cancel reaches the engine in every window, ends the job once, and frees the slot when it is free."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.errors import CapacityError, Code, Refusal
from orchestratord.store.writes import RequestCancel, Write
from support.event_streams import payload
from support.fake_engine import EngineCall, FakeEngine, progress
from support.orchestrator import Orchestrator, chat_body, nobody_waits, ready_worker
from support.raw_clients import RawClient
from support.waiting import until

WINDOWS = ["queued", "loading", "sent", "head", "prefill", "mid-stream"]
_CANCELLED = 'orchd_jobs_finished_total{status="cancelled"}'


@dataclass
class Asked:
    """A request on its way: its job, its client, and the engine's side where there is one."""

    job_id: str
    client: RawClient
    call: EngineCall | None = None


@pytest.fixture(autouse=True)
async def everybody_leaves(site: Orchestrator) -> AsyncIterator[None]:
    yield
    for client in CLIENTS:
        client.leave()
    CLIENTS.clear()
    await until(lambda: not site.server.server_state.tasks, what="the end of all requests")


CLIENTS: list[RawClient] = []


async def ask(site: Orchestrator, kind: str, model: str = "tiny-chat") -> RawClient:
    """Send the request; the client of a durable job is the one that reads its events."""
    if kind == "durable":
        job_id = await site.submit(model=model, cancel_on_disconnect=True)
        path = f"/v2/tasks/{job_id}/events"
        client = await RawClient.ask(site.url, site.key, "GET", path)
    else:
        body = chat_body(stream=kind == "stream", model=model)
        client = await RawClient.ask(site.url, site.key, "POST", "/v1/chat/completions", body)
    CLIENTS.append(client)
    return client


async def newest(site: Orchestrator, model: str = "tiny-chat") -> str | None:
    found = await site.client.get("/v2/tasks", params={"limit": "1", "model": model})
    items = found.json()["items"]
    return items[0]["id"] if items else None


async def ask_up_to(site: Orchestrator, engine: FakeEngine, kind: str, window: str) -> Asked:
    """Bring a request into a window."""
    model = "tiny-story" if window == "loading" else "tiny-chat"
    if window == "loading":
        story = ready_worker(engine.port, 2, model=model, status=WorkerStatus.LOADING)
        await site.beat(ready_worker(engine.port), story)
    before = await newest(site, model)
    client = await ask(site, kind, model)

    async def is_there() -> str | None:
        found = await newest(site, model)
        return found if found != before else None

    job_id = await until(is_there, what="the job")
    if kind == "durable":
        await client.until(b"event: queued")
    asked = Asked(str(job_id), client)
    if window in ("queued", "loading"):
        return asked
    asked.call = call = await engine.next_call()
    if window != "sent":
        await call.open()
    if window in ("prefill", "mid-stream"):
        await call.send(progress())
    if window == "mid-stream":
        await call.say("some")
        if kind != "plain":
            await client.until(b"some")
    return asked


async def cancel(site: Orchestrator, asked: Asked, how: str) -> None:
    """End it the way that is tried; a cancel through the API is answered with the ended job."""
    path = f"/v2/tasks/{asked.job_id}"
    if how == "gone":
        asked.client.leave()
        return
    reply = await (
        site.client.delete(path) if how == "DELETE" else site.client.post(f"{path}/cancel")
    )
    assert (reply.status_code, reply.json()["status"]) == (200, "cancelled"), reply.text
    again = await site.client.delete(path)
    assert (again.status_code, again.json()) == (200, reply.json())


@pytest.mark.parametrize("how", ["DELETE", "POST", "gone"])
@pytest.mark.parametrize("kind", ["stream", "plain", "durable"])
@pytest.mark.parametrize("window", WINDOWS)
async def test_a_cancel_ends_its_job_once_and_the_slot_serves_the_next(
    site: Orchestrator, engine: FakeEngine, window: str, kind: str, how: str
) -> None:
    blocking = None
    if window == "queued":
        await site.submit("blocker")
        blocking = await engine.next_call()
    asked = await ask_up_to(site, engine, kind, window)
    await cancel(site, asked, how)
    if asked.call is not None:
        await asked.call.gone()
    shown = await site.ended(asked.job_id)
    assert (shown["status"], shown["error_code"]) == ("cancelled", "CANCELLED")
    attempts = [attempt["status"] for attempt in shown["attempts"]]
    assert attempts == ([] if asked.call is None else ["cancelled"])
    assert await site.metric(_CANCELLED) == 1
    if how != "gone":
        assert b"cancelled" in (await asked.client.rest()).lower()
    if blocking is not None:
        await blocking.answer("x")
    await until(lambda: nobody_waits(site), what="an empty orchestrator")
    following = await site.submit("next")
    await (await engine.next_call()).answer("served")
    assert (await site.ended(following))["output"] == "served"
    assert await site.metric("orchd_cancel_unconfirmed_total") == 0


async def test_a_slot_is_given_out_again_only_when_its_worker_is_seen_idle(
    site: Orchestrator, engine: FakeEngine
) -> None:
    asked = await ask_up_to(site, engine, "stream", "mid-stream")
    engine.stubborn = 1
    await cancel(site, asked, "DELETE")
    following = await site.submit("next")
    looks = engine.slots_asked
    await until(lambda: engine.slots_asked > looks, what="a look at the slots")
    assert await site.metric("orchd_slots_awaited") == 1
    assert (await site.job(following))["status"] == "queued"
    assert engine.waiting_calls == 0
    engine.stubborn = 0
    await (await engine.next_call()).answer("served")
    assert (await site.ended(following))["output"] == "served"
    assert await site.metric("orchd_slots_awaited") == 0


async def test_a_worker_that_died_with_the_cancelled_attempt_holds_nothing(
    site: Orchestrator, engine: FakeEngine
) -> None:
    asked = await ask_up_to(site, engine, "durable", "mid-stream")
    await engine.stop_listening()
    await cancel(site, asked, "DELETE")

    async def forgotten() -> bool:
        return await site.metric("orchd_slots_awaited") == 0

    await until(forgotten, what="free slots")
    assert await site.metric("orchd_cancel_unconfirmed_total") == 0


async def test_a_cancel_is_on_disk_before_anything_ends(
    site: Orchestrator, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await ask_up_to(site, engine, "durable", "mid-stream")
    submit, held = site.store.submit, asyncio.Event()

    async def late(write: Write) -> int:
        await held.wait()
        return await submit(write)

    def slow(write: Write) -> asyncio.Future[int]:
        return asyncio.ensure_future(late(write))

    monkeypatch.setattr(site.store, "submit", slow)
    cancelling = asyncio.create_task(cancel(site, asked, "DELETE"))
    assert asked.call is not None
    await asked.call.say(" more")
    await asked.client.until(b" more")
    assert not asked.call.client_closed.is_set()
    held.set()
    monkeypatch.undo()
    await cancelling
    await asked.call.gone()
    row = await site.store.job(asked.job_id)  # pyright: ignore[reportArgumentType] - an id.
    assert row is not None
    assert row.cancel_requested_at_ms is not None


async def test_an_answer_that_ends_while_its_cancel_is_written_stays_complete(
    site: Orchestrator, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await ask_up_to(site, engine, "durable", "mid-stream")
    assert asked.call is not None
    call, submit = asked.call, site.store.submit

    async def after_the_end(write: Write) -> int:
        await call.end()
        await site.ended(asked.job_id)
        return await submit(write)

    def overtaken(write: Write) -> asyncio.Future[int]:
        return asyncio.ensure_future(after_the_end(write))

    monkeypatch.setattr(site.store, "submit", overtaken)
    reply = await site.client.delete(f"/v2/tasks/{asked.job_id}")
    assert (reply.status_code, reply.json()["status"]) == (200, "completed")
    monkeypatch.undo()
    replay = await site.replay(asked.job_id)
    assert (replay.count(b"event: end"), replay.count(b"event: error")) == (1, 0)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_wish_that_could_not_be_written_still_ends_what_its_client_left(
    site: Orchestrator, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    asked = await ask_up_to(site, engine, "durable", "mid-stream")
    problem = CapacityError(Refusal(Code.QUEUE_FULL, "writes wait", retry_after_s=1))

    def refuse(write: Write) -> asyncio.Future[int]:
        assert isinstance(write, RequestCancel)
        if at_once:
            raise problem
        failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        failed.set_exception(problem)
        return failed

    monkeypatch.setattr(site.store, "submit", refuse)
    asked.client.leave()
    assert asked.call is not None
    await asked.call.gone()
    monkeypatch.undo()
    assert (await site.ended(asked.job_id))["status"] == "cancelled"


async def test_a_cancel_through_the_api_that_cannot_be_written_is_refused(
    site: Orchestrator, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await ask_up_to(site, engine, "durable", "mid-stream")

    def refuse(_: Write) -> asyncio.Future[int]:
        raise CapacityError(Refusal(Code.QUEUE_FULL, "writes wait", retry_after_s=1))

    monkeypatch.setattr(site.store, "submit", refuse)
    reply = await site.client.delete(f"/v2/tasks/{asked.job_id}")
    assert reply.status_code == 429
    monkeypatch.undo()
    assert (await site.job(asked.job_id))["status"] == "running"
    await cancel(site, asked, "POST")


async def test_many_cancels_of_one_job_are_one_end(site: Orchestrator, engine: FakeEngine) -> None:
    asked = await ask_up_to(site, engine, "durable", "mid-stream")
    path = f"/v2/tasks/{asked.job_id}"
    replies = await asyncio.gather(*(site.client.delete(path) for _ in range(20)))
    assert {(reply.status_code, reply.json()["status"]) for reply in replies} == {
        (200, "cancelled")
    }
    async with site.events(asked.job_id) as stream:
        told = await stream.rest()
    assert [found.event for found in told] == ["queued", "started", "token", "error"]
    assert payload(told[-1])["code"] == "CANCELLED"
    assert await site.metric(_CANCELLED) == 1


async def test_a_daemon_that_stops_does_not_cancel_what_clings_to_its_reader(
    site: Orchestrator, engine: FakeEngine
) -> None:
    asked = await ask_up_to(site, engine, "durable", "mid-stream")
    site.parts.readers.close()
    assert b": restarting" in await asked.client.rest()
    asked.client.leave()
    await until(lambda: len(site.parts.readers) == 0, what="the reader's end")
    assert (await site.job(asked.job_id))["status"] == "running"
    assert asked.call is not None
    await asked.call.end()
    assert (await site.ended(asked.job_id))["status"] == "completed"
