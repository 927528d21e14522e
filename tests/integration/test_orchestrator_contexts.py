"""A prompt that does not fit is refused before it waits; a worker is asked only in doubt."""

import asyncio
import json
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.fake_engine import EngineCall, FakeEngine
from support.orchestrator import Orchestrator, chat_body, ready_worker, running_orchestrator
from support.raw_clients import RawClient
from support.waiting import until

# tiny-chat has 1024 tokens: so many bytes may fit or not.
DOUBTFUL = "word " * 400
CHAT_COUNT = "POST /v1/chat/completions/input_tokens HTTP/1.1"


async def reply_with(call: EngineCall, status: int, body: object) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Said\r\nContent-Type: application/json\r\n"
    await call.raw(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
    call.close()


def submission(site: Orchestrator, **more: object) -> Awaitable[httpx.Response]:
    body = {"model": "tiny-chat", "prompt": DOUBTFUL, **more}
    return site.client.post("/v2/tasks", json=body)


def call_of_v1(site: Orchestrator, **more: object) -> Awaitable[httpx.Response]:
    body = chat_body(DOUBTFUL, **more)
    return site.client.post("/v1/chat/completions", json=body)


async def counted(
    asking: Awaitable[httpx.Response], engine: FakeEngine, tokens: int
) -> tuple[EngineCall, httpx.Response]:
    asked = asyncio.ensure_future(asking)
    call = await engine.next_call()
    await reply_with(call, 200, {"input_tokens": tokens})
    return call, await asked


async def test_too_long_a_prompt_is_refused_with_its_exact_length(
    site: Orchestrator, engine: FakeEngine
) -> None:
    call, reply = await counted(submission(site), engine, 1024)
    assert call.request_line == CHAT_COUNT
    assert call.headers["authorization"] == "Bearer worker-key"
    assert call.body == {"messages": [{"role": "user", "content": DOUBTFUL}]}
    assert reply.status_code == 422
    error = reply.json()["error"]
    assert error["code"] == "CONTEXT_EXCEEDED"
    assert (error["details"]["context_length"], error["details"]["prompt_tokens"]) == (1024, 1024)
    assert "maximum context length is 1024 tokens" in error["message"]
    assert len(site.parts.jobs) == len(site.parts.ledger) == 0


async def test_clients_of_openai_know_the_refusal(site: Orchestrator, engine: FakeEngine) -> None:
    tools = [{"type": "function", "function": {"name": "f"}}]
    call, reply = await counted(call_of_v1(site, tools=tools), engine, 5000)
    assert call.body["tools"] == tools
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["code"], error["type"]) == ("context_length_exceeded", "invalid_request_error")
    assert "This model's maximum context length is 1024 tokens" in error["message"]


async def test_the_last_token_that_fits_is_let_in(site: Orchestrator, engine: FakeEngine) -> None:
    _, reply = await counted(submission(site), engine, 1023)
    assert reply.status_code == 202
    await (await engine.next_call()).answer("a")
    assert (await site.ended(reply.json()["job_id"]))["status"] == "completed"


async def test_a_raw_prompt_is_counted_as_it_is(site: Orchestrator, engine: FakeEngine) -> None:
    for tokens, status in ((1024, 422), (1023, 202)):
        asked = asyncio.ensure_future(submission(site, raw=True))
        call = await engine.next_call()
        assert call.request_line == "POST /tokenize HTTP/1.1"
        assert call.body == {"content": DOUBTFUL, "add_special": True}
        await reply_with(call, 200, {"tokens": list(range(tokens))})
        assert (await asked).status_code == status


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, {"input_tokens": 9999}),
        (404, b"not here"),
        (200, b"{"),
        (200, []),
        (200, {"input_tokens": "many"}),
        (200, {"input_tokens": -5}),
    ],
)
async def test_a_worker_that_cannot_count_stops_nobody(
    site: Orchestrator, engine: FakeEngine, status: int, body: object
) -> None:
    asked = asyncio.ensure_future(submission(site))
    await reply_with(await engine.next_call(), status, body)
    assert (await asked).status_code == 202


async def test_a_worker_that_dies_over_the_count_stops_nobody(
    site: Orchestrator, engine: FakeEngine
) -> None:
    asked = asyncio.ensure_future(submission(site))
    (await engine.next_call()).reset()
    assert (await asked).status_code == 202


async def test_a_place_is_held_while_the_worker_counts(tmp_path: Path, engine: FakeEngine) -> None:
    async with running_orchestrator(tmp_path, queue_limit=1) as site:
        await site.register(ready_worker(engine.port))
        asked = asyncio.ensure_future(submission(site))
        call = await engine.next_call()
        assert (await submission(site, prompt="x")).status_code == 429
        await reply_with(call, 200, {"input_tokens": 9999})
        assert (await asked).status_code == 422
        assert (await submission(site, prompt="x")).status_code == 202


async def test_a_short_prompt_asks_no_worker(site: Orchestrator, engine: FakeEngine) -> None:
    assert (await submission(site, prompt="x" * 500)).status_code == 202
    assert (await engine.next_call()).request_line == "POST /v1/chat/completions HTTP/1.1"


async def test_what_certainly_does_not_fit_asks_no_worker(
    site: Orchestrator, engine: FakeEngine
) -> None:
    reply = await submission(site, prompt="word" * 100_000)
    assert reply.status_code == 422
    assert "at least 1024" in reply.json()["error"]["message"]
    assert engine.calls == []


async def test_pictures_are_left_to_the_engine(site: Orchestrator, engine: FakeEngine) -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}
    turn = {"role": "user", "content": [picture]}
    body = {"model": "tiny-chat", "messages": [turn], "stream": True}
    async with site.client.stream("POST", "/v1/chat/completions", json=body) as response:
        call = await engine.next_call()
        assert call.request_line == "POST /v1/chat/completions HTTP/1.1"
        await call.answer("a")
        await response.aread()


@pytest.mark.parametrize("raw", [False, True])
async def test_while_nobody_serves_only_the_impossible_is_refused(
    tmp_path: Path, raw: bool
) -> None:
    async with running_orchestrator(tmp_path) as site:
        assert (await submission(site, raw=raw)).status_code == 202
        refused = await submission(site, prompt="word" * 100_000, raw=raw)
        assert refused.json()["error"]["code"] == "CONTEXT_EXCEEDED"


async def test_a_worker_with_a_longer_context_counts(tmp_path: Path, engine: FakeEngine) -> None:
    def wide(number: int, ctx: int) -> Any:
        report = ready_worker(engine.port, number)
        return report.model_copy(update={"spec": report.spec.model_copy(update={"ctx": ctx})})

    async with running_orchestrator(tmp_path) as site:
        await site.register(wide(1, 1024), wide(2, 8192))
        assert (await submission(site)).status_code == 202
        # The job itself is the first that the engine hears.
        assert (await engine.next_call()).request_line == "POST /v1/chat/completions HTTP/1.1"
        _, reply = await counted(submission(site, prompt="word " * 3000), engine, 8192)
        assert "length is 8192 tokens" in reply.json()["error"]["message"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_while_its_prompt_is_counted_is_not_let_in(
    site: Orchestrator, engine: FakeEngine, stream: bool
) -> None:
    body = chat_body(DOUBTFUL, stream=stream)
    client = await RawClient.ask(site.url, site.key, "POST", "/v1/chat/completions", body)
    call = await engine.next_call()
    assert call.request_line == CHAT_COUNT
    client.leave()
    # The question is given up with its asker, and nothing of the call is left.
    await call.gone()
    await until(lambda: not site.server.server_state.tasks, what="the end of the request")
    assert len(site.parts.jobs) == len(site.parts.ledger) == len(site.parts.open_calls) == 0
    assert (await site.client.get("/v2/tasks")).json()["items"] == []
    assert engine.waiting_calls == 0
