"""Durable jobs from their submission to their end, over HTTP, against a scripted engine."""

import asyncio
from pathlib import Path

import httpx
import pytest

from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.errors import CapacityError, Code, HostError, LlorchError, Refusal
from orchestratord.store.writes import AdmitJob, Write
from support.event_streams import payload
from support.fake_engine import FakeEngine, event, finish, progress, role, text
from support.orchestrator import Orchestrator, ready_worker, running_orchestrator
from support.waiting import until


async def test_a_job_runs_from_its_submission_to_its_end(
    site: Orchestrator, engine: FakeEngine
) -> None:
    reply = await site.client.post(
        "/v2/tasks",
        json={"model": "tiny-chat", "prompt": "Say hello", "seed": 7, "max_tokens": 9},
        headers={"x-correlation-id": "my-marker"},
    )
    assert reply.status_code == 202
    assert reply.headers["x-correlation-id"] == "my-marker"
    accepted = reply.json()
    job_id = accepted["job_id"]
    assert accepted == {
        "job_id": job_id,
        "status": "queued",
        "queue_position": 1,
        "events_url": f"/v2/tasks/{job_id}/events",
    }
    async with site.events(job_id) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert stream.response.headers["cache-control"] == "no-store"
        call = await engine.next_call()
        assert call.request_line == "POST /v1/chat/completions HTTP/1.1"
        assert call.headers["authorization"] == "Bearer worker-key"
        assert call.body["messages"] == [{"role": "user", "content": "Say hello"}]
        assert (call.body["seed"], call.body["max_tokens"]) == (7, 9)
        await call.open()
        await call.send(progress(), role(), text("Hel"))
        seen = [await stream.next() for _ in range(3)]
        assert [(found.id, found.event) for found in seen] == [
            ("1", "queued"),
            ("2", "started"),
            ("3", "token"),
        ]
        assert payload(seen[0]) == {"job_id": job_id, "queue_position": 1}
        assert payload(seen[1])["worker_name"] == "worker-cpu-1"
        assert payload(seen[2]) == {"t": "Hel", "i": 0, "n": 1}
        await call.send(text("lo"), text(" you"))
        await call.end(completion=3)
        rest = await stream.rest()
    assert [found.event for found in rest][-1] == "end"
    told = "".join(payload(found)["t"] for found in rest[:-1])
    assert told == "lo you"
    end = payload(rest[-1])
    assert (end["tokens_out"], end["stop_reason"]) == (3, "stop")
    assert end["usage"] == {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    assert end["timings"] == {"prompt_ms": 1.5, "predicted_ms": 2.5}
    shown = await site.job(job_id)
    assert (shown["status"], shown["output"], shown["seed"]) == ("completed", "Hello you", 7)
    assert [attempt["status"] for attempt in shown["attempts"]] == ["ended"]
    usage = await site.store.usage(job_id)
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.attempts) == (5, 3, 1)
    assert usage.workers == (shown["worker_id"],)


async def test_unknown_jobs_and_jobs_of_another_key_are_not_found(site: Orchestrator) -> None:
    mine = await site.make_key("user")
    job_id = await site.submit()
    unknown = site.ids.job()
    stranger = {"authorization": f"Bearer {mine}"}
    for name, headers in ((job_id, stranger), (unknown, {}), ("job_x", {}), ("x\ny", {})):
        for method, suffix in (
            ("GET", ""),
            ("GET", "/events"),
            ("DELETE", ""),
            ("POST", "/cancel"),
        ):
            path = f"/v2/tasks/{name}{suffix}".replace("\n", "%0A")
            reply = await site.client.request(method, path, headers=headers)
            assert reply.status_code == 404, (name, method, suffix)
            assert reply.json()["error"]["code"] == "JOB_NOT_FOUND"
    listed = await site.client.get("/v2/tasks", headers=stranger)
    assert listed.json() == {"items": [], "next": None}
    assert (await site.job(job_id))["status"] in ("dispatched", "running")


async def test_a_user_sees_and_cancels_its_own_job(site: Orchestrator, engine: FakeEngine) -> None:
    headers = {"authorization": f"Bearer {await site.make_key('user')}"}
    body = {"model": "tiny-chat", "prompt": "mine"}
    job_id = (await site.client.post("/v2/tasks", json=body, headers=headers)).json()["job_id"]
    shown = await site.client.get(f"/v2/tasks/{job_id}", headers=headers)
    assert shown.status_code == 200
    ended = await site.client.delete(f"/v2/tasks/{job_id}", headers=headers)
    assert ended.json()["status"] == "cancelled"
    assert (await site.job(job_id))["status"] == "cancelled"


async def test_a_queued_job_is_cancelled_without_an_attempt(
    site: Orchestrator, engine: FakeEngine
) -> None:
    first, waiting = await site.submit("first"), await site.submit("second")
    call = await engine.next_call()
    shown = await site.job(waiting)
    assert shown["status"] == "queued"
    assert any("place 1 of 1" in line for line in shown["why"])
    reply = await site.client.post(f"/v2/tasks/{waiting}/cancel")
    assert (reply.status_code, reply.json()["status"]) == (200, "cancelled")
    async with site.events(waiting) as stream:
        assert [found.event for found in await stream.rest()] == ["queued", "error"]
    await call.answer("x")
    assert (await site.ended(first))["status"] == "completed"
    assert len(engine.calls) == 1


@pytest.mark.parametrize("phase", ["before the head", "before the first token", "mid-stream"])
async def test_a_cancel_closes_the_engine_and_is_idempotent(
    site: Orchestrator, engine: FakeEngine, phase: str
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    if phase != "before the head":
        await call.open()
        await call.send(progress())
        await until(lambda: _status(site, job_id, "running"), what="the running job")
    async with site.events(job_id) as stream:
        if phase == "mid-stream":
            await call.say("some", " text")
            await stream.until_kind("token")
        reply = await site.client.delete(f"/v2/tasks/{job_id}")
        assert (reply.status_code, reply.json()["status"]) == (200, "cancelled")
        await call.gone()
        last = (await stream.rest())[-1]
    assert (last.event, payload(last)["code"]) == ("error", "CANCELLED")
    again = await site.client.post(f"/v2/tasks/{job_id}/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")
    shown = await site.job(job_id)
    assert [attempt["status"] for attempt in shown["attempts"]] == ["cancelled"]
    assert (await site.replay(job_id)).count(b"event: error") == 1


async def _status(site: Orchestrator, job_id: str, status: str) -> bool:
    return (await site.job(job_id))["status"] == status


async def test_a_cancelled_job_counts_the_tokens_that_it_showed(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    await call.open()
    await call.send(text("a"), text("b"), text("c"))
    async with site.events(job_id) as stream:
        await stream.until_kind("token")
        await site.client.delete(f"/v2/tasks/{job_id}")
    shown = await site.job(job_id)
    assert (shown["output"], shown["tokens_out"]) == ("abc", 3)
    usage = await site.store.usage(job_id)
    assert usage is not None
    assert usage.completion_tokens == 3


async def test_a_cancel_after_the_end_changes_nothing(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    await (await engine.next_call()).answer("done")
    before = await site.ended(job_id)
    reply = await site.client.delete(f"/v2/tasks/{job_id}")
    assert (reply.status_code, reply.json()) == (200, before)


async def test_a_job_without_a_worker_waits_and_says_why(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit(model="tiny-story")
    shown = await site.job(job_id)
    assert shown["status"] == "queued"
    assert shown["why"]
    story = ready_worker(engine.port, 2, model="tiny-story")
    loading = story.model_copy(update={"status": WorkerStatus.LOADING})
    await site.beat(ready_worker(engine.port), loading)
    assert (await site.job(job_id))["status"] == "queued"
    await site.beat(ready_worker(engine.port), story)
    call = await engine.next_call()
    await call.answer("Once")
    assert (await site.ended(job_id))["output"] == "Once"


async def test_a_deadline_ends_a_waiting_job(tmp_path: Path) -> None:
    async with running_orchestrator(tmp_path) as site:
        await site.register()
        job_id = await site.submit(deadline_ms=5)
        site.clock.advance(1)
        shown = await site.ended(job_id)
        assert (shown["status"], shown["error_code"]) == ("expired", "EXPIRED")
        async with site.events(job_id) as stream:
            last = (await stream.rest())[-1]
        assert payload(last)["code"] == "EXPIRED"


async def test_a_raw_prompt_goes_to_the_completions_of_the_engine(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit("Once upon", raw=True, repetition_penalty=1.1, stop=["END"])
    call = await engine.next_call()
    assert call.request_line == "POST /v1/completions HTTP/1.1"
    assert (call.body["prompt"], call.body["repeat_penalty"]) == ("Once upon", 1.1)
    assert "repetition_penalty" not in call.body
    await call.open()
    await call.send(event({"choices": [{"index": 0, "text": " a time", "finish_reason": None}]}))
    await call.send(event({"choices": [{"index": 0, "text": "", "finish_reason": "length"}]}))
    await call.send(finish("length"))
    await call.raw(b"0\r\n\r\n")
    shown = await site.ended(job_id)
    assert (shown["output"], shown["stop_reason"]) == (" a time", "length")


async def test_jobs_are_listed_newest_first_in_pages_with_filters(site: Orchestrator) -> None:
    ids = [await site.submit(f"{number}") for number in range(5)]
    batch = await site.submit("later", priority="batch")
    pages: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await site.client.get("/v2/tasks", params=query)).json()
        assert len(page["items"]) <= 2
        pages += [item["id"] for item in page["items"]]
        if (cursor := page["next"]) is None:
            break
    assert pages == [batch, *reversed(ids)]
    only = (await site.client.get("/v2/tasks", params={"priority": "batch"})).json()
    assert [item["id"] for item in only["items"]] == [batch]
    waiting = (await site.client.get("/v2/tasks", params={"status": "queued"})).json()
    assert len(waiting["items"]) == 5
    assert "output" in waiting["items"][0]
    for bad in (
        {"limit": "0"},
        {"limit": "501"},
        {"limit": "x"},
        {"status": "odd"},
        {"priority": "odd"},
        {"cursor": "x"},
        {"cursor": ""},
        {"cursor": ids[0].upper() + "'"},
    ):
        reply = await site.client.get("/v2/tasks", params=bad)
        assert reply.status_code == 400
        assert "\n" not in reply.json()["error"]["message"]


async def test_calls_and_stored_jobs_are_one_list_that_stays_put_while_new_ones_come(
    site: Orchestrator, engine: FakeEngine
) -> None:
    asked: list[asyncio.Task[httpx.Response]] = []
    expected: list[str] = []
    for number in range(6):
        if number % 2:
            expected.append(await site.submit(f"{number}"))
        else:
            asked.append(asyncio.create_task(site.ask(f"{number}")))
            await until(lambda: len(site.parts.open_calls) == len(asked), what="the call")
            newest = (await site.client.get("/v2/tasks", params={"limit": "1"})).json()
            expected.append(newest["items"][0]["id"])
    pages: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await site.client.get("/v2/tasks", params=query)).json()
        pages += [item["id"] for item in page["items"]]
        await site.submit("another one that came meanwhile")
        if (cursor := page["next"]) is None:
            break
    assert pages == expected[::-1]
    running = (await site.client.get("/v2/tasks", params={"model": "tiny-chat"})).json()["items"]
    assert {item["durable"] for item in running} == {True, False}
    for query in ({"model": "tiny-story"}, {"status": "completed"}, {"priority": "batch"}):
        assert (await site.client.get("/v2/tasks", params=query)).json()["items"] == []
    cancelled = await site.client.delete(f"/v2/tasks/{expected[2]}")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    found = (await site.client.get("/v2/tasks", params={"status": "cancelled"})).json()["items"]
    assert [item["id"] for item in found] == [expected[2]]
    for item in (await site.client.get("/v2/tasks")).json()["items"]:
        await site.client.delete(f"/v2/tasks/{item['id']}")
    await asyncio.gather(*asked)


async def test_the_queue_limit_holds_also_for_submissions_at_the_same_time(
    tmp_path: Path,
) -> None:
    async with running_orchestrator(tmp_path, queue_limit=3) as site:
        body = {"model": "tiny-chat", "prompt": "x"}
        posts = [site.client.post("/v2/tasks", json=body) for _ in range(8)]
        replies = await asyncio.gather(*posts)
        statuses = sorted(reply.status_code for reply in replies)
        assert statuses == [202] * 3 + [429] * 5
        refused = next(reply for reply in replies if reply.status_code == 429)
        assert int(refused.headers["retry-after"]) >= 1
        assert refused.json()["error"]["code"] == "QUEUE_FULL"
        chat = await site.ask()
        assert chat.status_code == 429
        assert int(chat.headers["retry-after"]) >= 1
        assert chat.json()["error"]["type"] == "rate_limit_error"


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (CapacityError(Refusal(Code.QUEUE_FULL, "writes wait", retry_after_s=1)), 429),
        (HostError(Refusal(Code.DISK_LOW, "the disk is full")), 503),
    ],
)
async def test_a_job_that_could_not_be_stored_is_refused_and_leaves_nothing(
    site: Orchestrator, monkeypatch: pytest.MonkeyPatch, problem: LlorchError, status: int
) -> None:
    submit = site.store.submit

    def refuse(write: Write) -> asyncio.Future[int]:
        if not isinstance(write, AdmitJob):
            return submit(write)
        if status == 429:
            raise problem
        failed = asyncio.get_running_loop().create_future()
        failed.set_exception(problem)
        return failed

    monkeypatch.setattr(site.store, "submit", refuse)
    body = {"model": "tiny-chat", "prompt": "x"}
    reply = await site.client.post("/v2/tasks", json=body)
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, problem.code)
    assert int(reply.headers["retry-after"]) >= 1
    assert len(site.parts.jobs) == 0
    monkeypatch.undo()
    await site.submit()
