"""Durable jobs from their submission to their last event, over HTTP, against a scripted engine."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator_core.contracts.pool import WorkerStatus
from orchestratord.store.sqlite import SqliteStore, StoreOptions
from support.fake_engine import FakeEngine, event, finish, progress, role, text
from support.orchestrator import Orchestrator, payload, ready_worker, running_orchestrator
from support.waiting import until


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with FakeEngine.listening() as engine:
        yield engine


@pytest.fixture
async def site(tmp_path: Path, engine: FakeEngine) -> AsyncIterator[Orchestrator]:
    """An orchestrator with a real store and one ready worker."""
    options = StoreOptions(synchronous="NORMAL")
    store = await SqliteStore.open(tmp_path / "orchestrator.db", options)
    try:
        async with running_orchestrator(tmp_path, store=store) as site:
            await site.register(ready_worker(engine.port))
            yield site
            assert site.failures == []
    finally:
        await store.close()


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


async def test_events_have_ids_without_holes_and_a_replay_equals_the_live_bytes(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    async with site.events(job_id) as live, site.events(job_id) as second:
        call = await engine.next_call()
        await call.open()
        for word in ("one", " two", ' "three"', "\n\nfour", " fünf", " data: six"):
            await call.say(word)
            await live.until_kind("token")
        await call.end()
        await asyncio.gather(live.rest(), second.rest())
    late = await site.replay(job_id)
    assert live.raw == second.raw == late
    ids = [line for line in late.split(b"\n") if line.startswith(b"id: ")]
    assert ids == [b"id: %d" % (number + 1) for number in range(len(ids))]
    assert late.count(b"event: token") == 6


async def test_a_reader_comes_back_with_its_last_id_or_after(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    await call.open()
    await call.say("a")
    async with site.events(job_id, last_event_id="2") as live:
        assert (await live.next()).id == "3"
        await call.end()
        await live.rest()
    whole = await site.replay(job_id)
    frames = [part + b"\n\n" for part in whole.split(b"\n\n")[:-1]]
    for after in range(len(frames) + 1):
        async with site.events(job_id, after=after) as stream:
            await stream.rest()
            assert stream.raw == b"".join(frames[after:])
    # The header of a reconnect wins over the query of the address.
    async with site.events(job_id, after=1, last_event_id="3") as stream:
        assert (await stream.next()).id == "4"


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 19, "0x1"])
async def test_a_last_id_that_is_no_number_is_refused(site: Orchestrator, after: str) -> None:
    job_id = await site.submit()
    path = f"/v2/tasks/{job_id}/events"
    reply = await site.client.get(path, headers={"last-event-id": after})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "INVALID_REQUEST"
    await site.client.delete(f"/v2/tasks/{job_id}")


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


async def test_a_reader_that_leaves_cancels_only_a_job_that_asked_for_it(
    site: Orchestrator, engine: FakeEngine
) -> None:
    clinging = await site.submit("a", cancel_on_disconnect=True)
    call = await engine.next_call()
    await call.open()
    await call.say("x")
    async with site.events(clinging) as stream:
        await stream.until_kind("token")
    await call.gone()
    assert (await site.ended(clinging))["status"] == "cancelled"
    free = await site.submit("b")
    call = await engine.next_call()
    await call.open()
    await call.say("x")
    async with site.events(free) as stream:
        await stream.until_kind("token")
    await until(lambda: len(site.parts.readers) == 0, what="the reader's end")
    await call.end()
    assert (await site.ended(free))["status"] == "completed"


async def test_an_engine_that_dies_before_its_first_byte_is_asked_again_in_silence(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    (await engine.next_call()).reset()
    await (await engine.next_call()).answer("fine")
    shown = await site.ended(job_id)
    assert (shown["status"], shown["attempt"]) == ("completed", 1)
    assert b"event: attempt" not in await site.replay(job_id)


async def test_an_engine_that_dies_mid_stream_leads_to_a_new_attempt_with_the_whole_answer(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    async with site.events(job_id) as stream:
        call = await engine.next_call()
        await call.open()
        await call.say("half an")
        await stream.until_kind("token")
        call.reset()
        attempt = await stream.until_kind("attempt")
        told = payload(attempt)
        assert (told["attempt"], told["keep_tokens"], told["reason"]) == (2, 0, "WORKER_LOST")
        # Nobody is sent there again before the pool has said that it still serves.
        assert engine.waiting_calls == 0
        await site.beat(ready_worker(engine.port))
        await (await engine.next_call()).answer("the", " whole")
        rest = await stream.rest()
    assert rest[0].event == "started"
    assert "".join(payload(found)["t"] for found in rest if found.event == "token") == "the whole"
    shown = await site.job(job_id)
    assert (shown["status"], shown["output"], shown["attempt"]) == ("completed", "the whole", 2)
    assert [found["status"] for found in shown["attempts"]] == ["broken", "ended"]
    assert shown["attempts"][0]["tokens"] == 1


async def test_two_worker_processes_that_die_make_a_job_poisonous(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    for incarnation in (2, 3):
        call = await engine.next_call()
        await call.open()
        await call.say("x")
        call.reset()
        await until(lambda: len(site.parts.pumps) == 0, what="the broken attempt")
        await site.beat(ready_worker(engine.port, incarnation=incarnation))
    shown = await site.ended(job_id)
    assert (shown["status"], shown["error_code"]) == ("failed", "POISON")
    assert len(engine.calls) == 2


@pytest.mark.parametrize(
    ("status", "body", "code", "words"),
    [
        (400, {"error": {"code": 400, "message": "bad grammar"}}, "INVALID_REQUEST", "bad grammar"),
        (
            400,
            {"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error"}},
            "CONTEXT_EXCEEDED",
            "too long",
        ),
        (404, b"<html>", "INVALID_REQUEST", "the engine answered 404"),
        (500, {"error": {"message": "out of luck"}}, "ENGINE_ERROR", "out of luck"),
        (500, b"", "ENGINE_ERROR", "the engine answered 500"),
        (302, b"", "ENGINE_ERROR", "the engine answered 302"),
        (204, b"", "ENGINE_ERROR", "the engine answered 204"),
    ],
)
async def test_an_engine_that_refuses_ends_the_job_with_its_words(
    site: Orchestrator, engine: FakeEngine, status: int, body: object, code: str, words: str
) -> None:
    job_id = await site.submit()
    await (await engine.next_call()).refuse(status, body)
    shown = await site.ended(job_id)
    assert (shown["status"], shown["error_code"]) == ("failed", code)
    assert shown["error_message"] == words
    replay = await site.replay(job_id)
    assert b"event: started" not in replay
    assert replay.count(b"event: error") == 1


async def test_an_engine_that_still_loads_is_asked_again_up_to_the_limit(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    for _ in range(3):
        await (await engine.next_call()).refuse(503, {"error": {"message": "Loading model"}})
    shown = await site.ended(job_id)
    assert (shown["status"], shown["error_code"]) == ("failed", "ATTEMPTS_EXHAUSTED")
    assert "Loading model" in shown["error_message"]


@pytest.mark.parametrize(
    "nonsense",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_an_engine_that_speaks_nonsense_is_taken_as_lost(
    site: Orchestrator, engine: FakeEngine, nonsense: bytes
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    await call.raw(nonsense)
    call.close()
    await until(lambda: _status(site, job_id, "queued"), what="the job back in its queue")
    await site.beat(ready_worker(engine.port))
    await (await engine.next_call()).answer("good")
    assert (await site.ended(job_id))["output"] == "good"


async def test_an_event_that_is_too_large_breaks_the_attempt(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    await call.open()
    await call.say("ok")
    await call.send(b"data: " + b"x" * (4 << 20) + b"\n\n")
    await call.gone()
    shown = await until(lambda: site.job(job_id))
    assert shown["attempts"][0]["status"] == "broken"


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (event({"error": {"message": "it broke", "code": 500}}), "ENGINE_ERROR"),
        (event({"error": "it broke"}), "ENGINE_ERROR"),
        (event({"error": {"message": "no", "code": 400}}), "INVALID_REQUEST"),
        (b"data: it broke\n\n", "ENGINE_ERROR"),
        (b"data: [1]\n\n", "ENGINE_ERROR"),
        (b'data: {"choices":[\n\n', "ENGINE_ERROR"),
    ],
)
async def test_an_error_inside_the_stream_ends_the_job_at_once(
    site: Orchestrator, engine: FakeEngine, bad: bytes, code: str
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    await call.open()
    # The engine says no more and does not close: waiting for that would hold the slot.
    await call.send(text("a"), bad, text("b"))
    await call.gone()
    shown = await site.ended(job_id)
    assert (shown["status"], shown["error_code"], shown["output"]) == ("failed", code, "a")


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 1.5, "completion_tokens": 2},
        {"prompt_tokens": -3, "completion_tokens": 2},
        {"prompt_tokens": 2**63, "completion_tokens": 2},
        {"prompt_tokens": 1e300, "completion_tokens": 2},
        {"prompt_tokens": "5", "completion_tokens": None},
        {"prompt_tokens": True},
    ],
)
async def test_an_engine_that_counts_nonsense_harms_nobody(
    site: Orchestrator, engine: FakeEngine, usage: object
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    await call.open()
    await call.say("a")
    timings = {"prompt_ms": "soon", "predicted_ms": -1}
    await call.send(event({"choices": [], "usage": usage, "timings": timings}), b"data: [DONE]\n\n")
    await call.raw(b"0\r\n\r\n")
    shown = await site.ended(job_id)
    assert shown["status"] == "completed"
    assert shown["usage"]["prompt_tokens"] >= 0
    stored = await site.store.usage(job_id)
    assert stored is not None
    assert stored.prompt_tokens >= 0
    assert (await site.client.get("/readyz")).status_code == 200


async def test_silence_and_standstill_are_taken_as_the_end_of_an_attempt(
    tmp_path: Path, engine: FakeEngine
) -> None:
    async with running_orchestrator(tmp_path, silence_s=3600, stall_s=60) as site:
        await site.register(ready_worker(engine.port))
        job_id = await site.submit()
        call = await engine.next_call()
        await call.open()
        await call.say("a")
        async with site.events(job_id) as stream:
            await stream.until_kind("token")
            # A ping is a sign of life and no progress.
            await call.send(b": ping\n\n")
            site.sweep(61)
            await call.gone()
            told = payload(await stream.until_kind("attempt"))
        assert told["reason"] == "WORKER_LOST"
    async with running_orchestrator(tmp_path / "b", silence_s=0.001) as site:
        await site.register(ready_worker(engine.port))
        job_id = await site.submit()
        call = await engine.next_call()
        await call.open()

        async def given_up() -> bool:
            site.sweep()
            return call.client_closed.is_set()

        await until(given_up, what="the orchestrator's patience with a silent worker")


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


async def test_a_silent_reader_is_kept_alive_by_comments(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    async with site.events(job_id) as stream:
        assert await stream.frame() == await _first_frame(site, job_id)
        site.sweep(14)
        site.sweep(2)
        assert await stream.frame() == b": keep-alive\n\n"
        await site.beat(ready_worker(engine.port))
        call = await engine.next_call()
        await call.answer("x")
        kinds = [found.event for found in await stream.rest()]
        assert kinds == ["started", "token", "end"]


async def _first_frame(site: Orchestrator, job_id: str) -> bytes:
    async with site.events(job_id) as stream:
        return await stream.frame()


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
    for bad in ({"limit": "0"}, {"limit": "x"}, {"status": "odd"}, {"priority": "odd"}):
        reply = await site.client.get("/v2/tasks", params=bad)
        assert reply.status_code == 400
        assert "\n" not in reply.json()["error"]["message"]


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
