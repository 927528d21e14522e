"""The OpenAI chat route over HTTP, streamed and not, against a scripted engine."""

import asyncio
import json

import pytest

from support.event_streams import chunks_of, said
from support.fake_engine import ENGINE_ID, FakeEngine, event, progress, role, text
from support.orchestrator import VERSION, Orchestrator, chat_body, ready_worker
from support.waiting import until


async def test_a_stream_carries_the_answer_under_our_id(
    site: Orchestrator, engine: FakeEngine
) -> None:
    async with site.chat("Hi", temperature=0, n_probs=3, store=True) as stream:
        call = await engine.next_call()
        assert call.headers["authorization"] == "Bearer worker-key"
        assert call.body["messages"] == [{"role": "user", "content": "Hi"}]
        assert (call.body["stream"], call.body["stream_options"]) == (True, {"include_usage": True})
        assert call.body["model"] == "tiny-chat"
        assert "store" not in call.body
        assert "n_probs" not in call.body
        await call.open()
        await call.send(progress(1), progress(8))
        await call.send(role())
        await call.say("Hel", "lo")
        await call.end()
        chunks = await chunks_of(stream)
        response = stream.response
    job_id = response.headers["x-job-id"]
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-request-id"] == response.headers["x-correlation-id"]
    assert chunks.pop() == "[DONE]"
    assert said(chunks) == "Hello"
    assert {chunk["id"] for chunk in chunks} == {"chatcmpl-" + job_id.removeprefix("job_")}
    assert {chunk["system_fingerprint"] for chunk in chunks} == {f"llorch-{VERSION}"}
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * 3 + ["stop"]
    assert not any("prompt_progress" in chunk or "usage" in chunk for chunk in chunks)
    assert ENGINE_ID not in stream.raw.decode()


async def test_usage_is_sent_only_to_those_who_ask(site: Orchestrator, engine: FakeEngine) -> None:
    async with site.chat(stream_options={"include_usage": True}) as stream:
        await (await engine.next_call()).answer("a", "b")
        chunks = await chunks_of(stream)
    assert chunks.pop() == "[DONE]"
    assert chunks[-1]["usage"]["completion_tokens"] == 2
    assert chunks[-1]["choices"] == []


async def test_an_answer_in_one_piece_is_folded_from_the_stream(
    site: Orchestrator, engine: FakeEngine
) -> None:
    asked = asyncio.create_task(site.ask(max_tokens=5, max_completion_tokens=3))
    call = await engine.next_call()
    assert (call.body["stream"], call.body["max_tokens"]) == (True, 3)
    await call.answer("Hel", "lo", reason="length")
    reply = await asked
    assert reply.status_code == 200
    body = reply.json()
    assert body["id"] == "chatcmpl-" + reply.headers["x-job-id"].removeprefix("job_")
    assert (body["object"], body["model"]) == ("chat.completion", "tiny-chat")
    (choice,) = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Hello"}
    assert choice["finish_reason"] == "length"
    assert body["usage"]["total_tokens"] == 7
    assert body["timings"]["predicted_ms"] == 2.5


async def test_a_call_is_listed_shown_and_leaves_one_usage_row(
    site: Orchestrator, engine: FakeEngine
) -> None:
    async with site.chat() as stream:
        call = await engine.next_call()
        await call.open()
        await call.say("x")
        await stream.frame()
        job_id = stream.response.headers["x-job-id"]
        shown = await site.job(job_id)
        assert (shown["status"], shown["durable"]) == ("running", False)
        listed = (await site.client.get("/v2/tasks")).json()["items"]
        assert [item["id"] for item in listed] == [job_id]
        await call.end(completion=1)
        await stream.rest()
    shown = await site.ended(job_id)
    assert (shown["status"], shown["output"], shown["tokens_out"]) == ("completed", None, 1)
    assert [attempt["status"] for attempt in shown["attempts"]] == ["ended"]
    usage = await until(lambda: site.store.usage(job_id), what="the usage row")
    assert usage is not None
    assert (usage.durable, usage.completion_tokens, usage.prompt_tokens) == (False, 1, 5)
    assert usage.workers == (shown["attempts"][0]["worker_id"],)
    site.sweep(601)
    assert (await site.client.get(f"/v2/tasks/{job_id}")).status_code == 404


async def test_calls_and_jobs_share_the_pages_of_the_list(
    site: Orchestrator, engine: FakeEngine
) -> None:
    ids: list[str] = []
    for number in range(6):
        if number % 2:
            job_id = await site.submit(f"{number}")
            await (await engine.next_call()).answer("x")
            await site.ended(job_id)
            ids.append(job_id)
        else:
            asked = asyncio.create_task(site.ask())
            await (await engine.next_call()).answer("x")
            ids.append((await asked).headers["x-job-id"])
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await site.client.get("/v2/tasks", params=query)).json()
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert seen == ids[::-1]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_is_cancelled_by_its_id(
    site: Orchestrator, engine: FakeEngine, stream: bool
) -> None:
    if stream:
        async with site.chat() as reader:
            call = await engine.next_call()
            await call.open()
            await call.say("x")
            await reader.frame()
            job_id = reader.response.headers["x-job-id"]
            reply = await site.client.delete(f"/v2/tasks/{job_id}")
            last = (await chunks_of(reader))[-1]
        assert last["error"]["code"] == "cancelled"
    else:
        asked = asyncio.create_task(site.ask())
        call = await engine.next_call()
        (listed,) = (await site.client.get("/v2/tasks")).json()["items"]
        reply = await site.client.post(f"/v2/tasks/{listed['id']}/cancel")
        answer = await asked
        assert answer.status_code == 409
        # Without this word OpenAI's own client would run the cancelled call twice more.
        assert answer.headers["x-should-retry"] == "false"
    assert (reply.status_code, reply.json()["status"]) == (200, "cancelled")
    assert [attempt["status"] for attempt in reply.json()["attempts"]] == ["cancelled"]
    await call.gone()
    again = await site.client.delete(f"/v2/tasks/{reply.json()['id']}")
    assert (again.status_code, again.json()["status"]) == (200, "cancelled")


async def test_a_call_of_another_key_is_not_found(site: Orchestrator, engine: FakeEngine) -> None:
    headers = {"authorization": f"Bearer {await site.make_key('user')}"}
    async with site.chat() as stream:
        call = await engine.next_call()
        await call.open()
        await call.say("x")
        await stream.frame()
        path = f"/v2/tasks/{stream.response.headers['x-job-id']}"
        for method in ("GET", "DELETE"):
            assert (await site.client.request(method, path, headers=headers)).status_code == 404
        await call.end()
        assert (await chunks_of(stream))[-1] == "[DONE]"


async def test_an_engine_that_dies_before_the_first_token_is_replaced_in_silence(
    site: Orchestrator, engine: FakeEngine
) -> None:
    async with site.chat() as stream:
        call = await engine.next_call()
        await call.open()
        await call.send(progress())
        call.reset()
        await until(lambda: len(site.parts.pumps) == 0, what="the broken attempt")
        await site.beat(ready_worker(engine.port))
        await (await engine.next_call()).answer("fine")
        chunks = await chunks_of(stream)
    assert chunks.pop() == "[DONE]"
    assert said(chunks) == "fine"


async def test_an_engine_that_dies_in_a_stream_that_cannot_go_on_ends_it_with_an_error(
    site: Orchestrator, engine: FakeEngine
) -> None:
    async with site.chat("Hello", stop=["."]) as stream:
        call = await engine.next_call()
        await call.open()
        await call.say("half")
        await stream.frame()
        call.reset()
        chunks = await chunks_of(stream)
    assert [list(chunk) for chunk in chunks] == [["error"]]
    assert chunks[0]["error"]["code"] == "worker_lost"


@pytest.mark.parametrize(
    "bad", [event({"error": {"message": "broke", "code": 500}}), b"data: {\n\n"]
)
async def test_text_and_error_in_one_piece_still_end_with_an_error(
    site: Orchestrator, engine: FakeEngine, bad: bytes
) -> None:
    async with site.chat() as stream:
        call = await engine.next_call()
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        await call.raw(head + text("half") + bad)
        raw = b""
        while frame := await stream.frame() if stream.response.status_code == 200 else b"":
            raw += frame
        status = stream.response.status_code
    # Nothing was sent yet, so the client gets a whole refusal; never a stream that just ends.
    assert status == 500 or b'"error"' in raw


@pytest.mark.parametrize(
    ("status", "body", "answered", "code"),
    [
        (400, {"error": {"message": "bad grammar"}}, 400, "invalid_request"),
        (
            400,
            {"error": {"message": "long", "type": "exceed_context_size_error"}},
            400,
            "context_length_exceeded",
        ),
        (500, {"error": {"message": "luck"}}, 500, "engine_error"),
    ],
)
@pytest.mark.parametrize("stream", [True, False])
async def test_an_engine_that_refuses_gives_the_call_a_status(
    site: Orchestrator,
    engine: FakeEngine,
    stream: bool,
    status: int,
    body: object,
    answered: int,
    code: str,
) -> None:
    asked = asyncio.create_task(site.ask(stream=stream))
    for _ in range(3 if status == 503 else 1):
        await (await engine.next_call()).refuse(status, body)
    reply = await asked
    assert reply.status_code == answered
    assert reply.json()["error"]["code"] == code
    assert "\n" not in reply.json()["error"]["message"]


async def test_models_are_listed_from_memory_and_shown_one_by_one(site: Orchestrator) -> None:
    listed = (await site.client.get("/v1/models")).json()
    assert listed["object"] == "list"
    names = {card["id"]: card for card in listed["data"]}
    assert {"tiny-chat", "tiny-story"} <= set(names)
    assert names["tiny-chat"]["context_length"] == 1024
    for path in ("/v1/models/tiny-chat", "/v1/models/tiny-chat/"):
        assert (await site.client.get(path)).json() == names["tiny-chat"]
    missing = await site.client.get("/v1/models/tiny-chatt")
    assert missing.status_code == 404
    assert missing.json()["error"]["code"] == "model_not_found"
    assert "tiny-chat" in missing.json()["error"]["message"]


async def test_two_streams_go_each_to_its_own_client(
    site: Orchestrator, engine: FakeEngine
) -> None:
    await site.beat(ready_worker(engine.port), ready_worker(engine.port, 2))
    async with site.chat("one") as first, site.chat("two") as second:
        calls = [await engine.next_call() for _ in range(2)]
        by_prompt = {call.body["messages"][0]["content"]: call for call in calls}
        for call in calls:
            await call.open()
        for _ in range(3):
            await by_prompt["one"].say("1")
            await by_prompt["two"].say("2")
        for call in calls:
            await call.end()
        texts = [said((await chunks_of(stream))[:-1]) for stream in (first, second)]
    assert texts == ["111", "222"]


async def test_depth_that_no_engine_can_be_sent_is_refused(
    site: Orchestrator, engine: FakeEngine
) -> None:
    for depth, status in ((240, 200), (253, 200), (254, 400), (300, 400), (900, 400)):
        nested = '{"a":' * depth + "1" + "}" * depth
        body = json.dumps(chat_body())[:-1] + f',"chat_template_kwargs":{nested}}}'
        asked = asyncio.create_task(site.client.post("/v1/chat/completions", content=body))
        if status == 200:
            # Such a field makes the gate ask for the template first.
            await (await engine.next_call()).refuse(404, b"")
            await (await engine.next_call()).answer("x")
        reply = await asked
        assert reply.status_code == status, depth
        if status == 400:
            assert reply.json()["error"]["message"] == "the body is nested too deeply"
