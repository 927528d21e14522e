"""An answer that loses its worker goes on on another one, as if one worker had made all of it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestratord.runtime.jobs.kept_text import KEPT_LIMIT_BYTES
from support.continued_answers import begin, completion, end_rest, go_on, survivor
from support.event_streams import EventStream, chunks_of, said
from support.fake_engine import FakeEngine, event, finish, text
from support.orchestrator import Orchestrator, chat_body, ready_worker
from support.waiting import until

WHOLE_USAGE = {"completion_tokens": 5, "prompt_tokens": 7, "total_tokens": 12}


@pytest.fixture
async def other() -> AsyncIterator[FakeEngine]:
    """An engine whose worker the pool tells of later."""
    async with FakeEngine.listening() as engine:
        yield engine


async def shown(stream: EventStream, count: int) -> list[Any]:
    """The first events of a chat that carry something, to this many."""
    return [json.loads((await stream.next()).data) for _ in range(count)]


async def test_a_stream_goes_on_where_its_worker_died(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    more = {"stream_options": {"include_usage": True}, "max_tokens": 9, "temperature": 0, "seed": 3}
    async with site.chat("Hello", **more) as stream:
        call = await engine.next_call()
        await begin(call, "one", " two")
        first = await shown(stream, 3)
        call.reset()
        await site.beat(survivor(other))
        rest = await go_on(other, behind="one two", tokens=[11, 12])
        assert (rest.body["max_tokens"], rest.body["temperature"], rest.body["seed"]) == (7, 0, 3)
        assert rest.body["stream"] is True
        assert rest.body["return_progress"] is True
        assert "messages" not in rest.body
        await rest.open()
        await rest.send(completion("", prompt_progress={"total": 9, "cache": 0, "processed": 9}))
        await rest.send(completion(" thr"))
        await rest.send(completion('ee"\n'), completion(" ü"))
        await end_rest(rest, 2, 3)
        chunks = [*first, *await chunks_of(stream)]
        job_id = stream.response.headers["x-job-id"]
    assert chunks[-1] == "[DONE]"
    told = chunks[:-1]
    assert said(told) == 'one two three"\n ü'
    # Whoever reads it sees one answer of one engine.
    for name in ("id", "created", "model", "system_fingerprint", "object"):
        assert len({chunk[name] for chunk in told}) == 1, name
    assert [chunk["choices"][0]["delta"] for chunk in told[:1]] == [
        {"role": "assistant", "content": None}
    ]
    assert sum("role" in chunk["choices"][0]["delta"] for chunk in told if chunk["choices"]) == 1
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in told if chunk["choices"]]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    assert told[-1]["choices"] == []
    assert told[-1]["usage"] == WHOLE_USAGE
    job = await site.job(job_id)
    assert (job["status"], job["attempt"], job["tokens_out"]) == ("completed", 2, 5)
    assert job["usage"] == WHOLE_USAGE
    lost, ended = job["attempts"]
    assert (lost["status"], lost["reason"], lost["tokens"]) == ("broken", "WORKER_LOST", 2)
    assert "reset" in lost["message"]
    assert (ended["status"], ended["kept_tokens"], ended["tokens"]) == ("ended", 2, 5)
    assert lost["worker_id"] != ended["worker_id"]


async def test_a_worker_that_dies_before_its_first_word_is_replaced_unseen(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    async with site.chat("Hello", stop=["."]) as stream:
        call = await engine.next_call()
        await begin(call)
        first = await shown(stream, 1)
        call.reset()
        await site.beat(survivor(other))
        again = await other.next_call()
        assert again.request_line.startswith("POST /v1/chat/completions ")
        await begin(again, "whole")
        await again.end()
        chunks = [*first, *await chunks_of(stream)]
    assert said(chunks[:-1]) == "whole"
    assert chunks[-1] == "[DONE]"
    told = [chunk["choices"][0]["delta"] for chunk in chunks[:-1] if chunk["choices"]]
    assert [delta for delta in told if "role" in delta] == [{"role": "assistant", "content": None}]


async def test_a_client_that_wants_no_usage_gets_none_of_the_rest(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    async with site.chat() as stream:
        call = await engine.next_call()
        await begin(call, "one")
        await shown(stream, 2)
        call.reset()
        await site.beat(survivor(other))
        rest = await go_on(other, behind="one", tokens=[11])
        await rest.open()
        await rest.send(completion(" two"))
        await end_rest(rest, 1, 1, "length")
        chunks = await chunks_of(stream)
    assert [chunk if chunk == "[DONE]" else chunk["choices"][0] for chunk in chunks] == [
        {"finish_reason": None, "index": 0, "delta": {"content": " two"}},
        {"finish_reason": "length", "index": 0, "delta": {}},
        "[DONE]",
    ]


async def test_the_same_worker_goes_on_once_it_is_back(
    site: Orchestrator, engine: FakeEngine
) -> None:
    async with site.chat() as stream:
        call = await engine.next_call()
        await begin(call, "one")
        await shown(stream, 2)
        call.reset()
        await until(lambda: len(site.parts.pumps) == 0, what="the broken attempt")
        assert engine.waiting_calls == 0
        await site.beat(ready_worker(engine.port, incarnation=2))
        rest = await go_on(engine, behind="one", tokens=[11])
        await rest.open()
        await rest.send(completion(" two"))
        await end_rest(rest, 1, 1)
        chunks = await chunks_of(stream)
    assert said(chunks[:-1]) == " two"
    assert chunks[-1] == "[DONE]"


async def test_an_answer_that_takes_two_workers_down_ends_with_an_error_and_no_splice(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    async with site.chat() as stream:
        call = await engine.next_call()
        await begin(call, "one")
        await shown(stream, 2)
        call.reset()
        await site.beat(survivor(other))
        rest = await go_on(other, behind="one", tokens=[11])
        await rest.open()
        await rest.send(completion(" two"))
        rest.close()
        chunks = await chunks_of(stream)
        job_id = stream.response.headers["x-job-id"]
    assert said(chunks[:-1]) == " two"
    assert chunks[-1]["error"]["code"] == "poison"
    job = await site.job(job_id)
    assert (job["status"], job["tokens_out"]) == ("failed", 2)
    assert [found["kept_tokens"] for found in job["attempts"]] == [0, 1]


async def test_a_call_in_one_piece_goes_on_too(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    asked = asyncio.create_task(site.ask(max_tokens=9))
    call = await engine.next_call()
    await begin(call, "one", " two")
    await call.send(text("!"))
    call.reset()
    await site.beat(survivor(other))
    rest = await go_on(other, behind="one two!", tokens=[11, 12])
    # Each event is at least one token: the limit is never exceeded.
    assert rest.body["max_tokens"] == 6
    await rest.open()
    await rest.send(completion(" three"))
    await end_rest(rest, 2, 1)
    body = (await asked).json()
    assert body["choices"][0]["message"]["content"] == "one two! three"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert body["usage"] == {"completion_tokens": 4, "prompt_tokens": 7, "total_tokens": 11}
    assert body["system_fingerprint"].startswith("llorch")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_has_all_the_tokens_it_may_have_ends_without_another_word(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine, stream: bool
) -> None:
    more: dict[str, object] = {"stream_options": {"include_usage": True}} if stream else {}
    body = chat_body("Hello", max_tokens=2, stream=stream, **more)
    asked = asyncio.create_task(site.client.post("/v1/chat/completions", json=body))
    call = await engine.next_call()
    await begin(call, "one", " two")
    call.reset()
    await site.beat(survivor(other))
    reply = await asked
    usage = {"completion_tokens": 2, "prompt_tokens": 8, "total_tokens": 10}
    assert other.calls == []
    if not stream:
        body = reply.json()
        assert body["choices"][0]["message"]["content"] == "one two"
        assert body["choices"][0]["finish_reason"] == "length"
        assert body["usage"] == usage
        return
    *_, last, counted, done = reply.text.strip().split("\n\n")
    assert json.loads(last[6:])["choices"] == [{"finish_reason": "length", "index": 0, "delta": {}}]
    assert json.loads(counted[6:])["usage"] == usage
    assert done == "data: [DONE]"


async def test_an_answer_that_has_ended_already_is_complete_without_its_usage(
    site: Orchestrator, engine: FakeEngine
) -> None:
    last = finish("stop").split(b"\n\n")[0] + b"\n\n"
    async with site.chat(stream_options={"include_usage": True}) as stream:
        call = await engine.next_call()
        await begin(call, "one", " two")
        await call.send(last)
        call.reset()
        chunks = await chunks_of(stream)
    assert said(chunks[:-1]) == "one two"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-3:-2]] == ["stop"]
    assert chunks[-2]["usage"] == {"completion_tokens": 2, "prompt_tokens": 8, "total_tokens": 10}
    assert chunks[-1] == "[DONE]"
    assert len(engine.calls) == 1


FIXED = {
    "stop": {"stop": ["x"]},
    "schema": {"response_format": {"type": "json_object"}},
    "grammar": {"grammar": 'root ::= "a"'},
    "logprobs": {"logprobs": True},
    "bias": {"logit_bias": {"5": 1}},
    "reasoning": {"reasoning_effort": "high"},
}


@pytest.mark.parametrize("asked", FIXED.values(), ids=FIXED)
async def test_a_stream_that_cannot_go_on_ends_with_an_error_and_is_never_spliced(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine, asked: dict[str, object]
) -> None:
    async with site.chat("Hello", **asked) as stream:
        call = await engine.next_call()
        await begin(call, "half")
        await shown(stream, 2)
        call.reset()
        await site.beat(survivor(other))
        chunks = await chunks_of(stream)
    assert [list(chunk) for chunk in chunks] == [["error"]]
    assert chunks[0]["error"]["code"] == "worker_lost"
    assert other.calls == []


async def test_an_engine_that_turned_out_to_think_cannot_be_followed(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    async with site.chat() as stream:
        call = await engine.next_call()
        await begin(call)
        thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}
        await call.send(event(thought))
        await call.say("half")
        await shown(stream, 3)
        call.reset()
        await site.beat(survivor(other))
        chunks = await chunks_of(stream)
    assert [list(chunk) for chunk in chunks] == [["error"]]


async def test_a_call_in_one_piece_that_cannot_go_on_starts_over_unseen(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    asked = asyncio.create_task(site.ask(stop=["x"]))
    call = await engine.next_call()
    await begin(call, "half")
    call.reset()
    await site.beat(survivor(other))
    again = await other.next_call()
    assert again.request_line.startswith("POST /v1/chat/completions ")
    await again.answer("whole")
    assert (await asked).json()["choices"][0]["message"]["content"] == "whole"


async def test_text_beyond_the_limit_is_not_kept(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    async with site.chat() as stream:
        call = await engine.next_call()
        await begin(call)
        piece = "x" * 4000
        for _ in range(KEPT_LIMIT_BYTES // len(piece) + 1):
            await call.say(piece)
            await stream.next()
        await stream.next()
        call.reset()
        await site.beat(survivor(other))
        chunks = await chunks_of(stream)
    assert list(chunks[-1]) == ["error"]
    assert other.calls == []


async def test_a_waiting_stream_whose_worker_died_is_kept_alive(
    site: Orchestrator, engine: FakeEngine
) -> None:
    async with site.chat() as stream:
        call = await engine.next_call()
        await begin(call, "one")
        await shown(stream, 2)
        call.reset()
        await until(lambda: len(site.parts.pumps) == 0, what="the broken attempt")
        site.sweep(20)
        assert (await stream.frame()).startswith(b":")
        site.sweep(30)
        assert json.loads((await stream.next()).data)["choices"] == []


async def test_half_an_event_is_not_kept(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    async with site.chat() as stream:
        call = await engine.next_call()
        await begin(call, "one")
        await shown(stream, 2)
        await call.send(text(" two")[:-20])
        call.close()
        await site.beat(survivor(other))
        rest = await go_on(other, behind="one", tokens=[11])
        await rest.open()
        await rest.send(completion(" two"))
        await end_rest(rest, 1, 1)
        chunks = await chunks_of(stream)
    assert said(chunks[:-1]) == " two"
