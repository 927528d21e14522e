"""What engines that somebody else runs are asked, and what of their answers reaches a client."""

from typing import Any

import pytest

from support.event_streams import chunks_of, said
from support.external_engines import OURS, SAID, THEIRS, events_of, served
from support.openai_server import OpenAiServer
from support.orchestrator import VERSION, Orchestrator
from support.waiting import until


async def test_a_chat_streams_under_our_names(site: Orchestrator, server: OpenAiServer) -> None:
    await served(site, server)
    async with site.chat("Hi", model=OURS, temperature=0.5) as stream:
        chunks = await chunks_of(stream)
    assert chunks.pop() == "[DONE]"
    assert said(chunks) == SAID
    assert {chunk["model"] for chunk in chunks} == {OURS}
    assert {chunk["system_fingerprint"] for chunk in chunks} == {f"llorch-{VERSION}"}
    assert b"theirs" not in stream.raw
    assert THEIRS.encode() not in stream.raw


async def test_the_engine_is_asked_in_its_own_words_and_in_no_others(
    site: Orchestrator, server: OpenAiServer
) -> None:
    await served(site, server, key="their-key")
    reply = await site.ask("Hi", model=OURS, top_k=3, n=2)
    assert reply.status_code == 200
    (asked,) = server.chats
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == "Bearer their-key"
    assert asked.body == {
        "model": THEIRS,
        "messages": [{"role": "user", "content": "Hi"}],
        "top_k": 3,
        "n": 2,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_an_answer_in_one_piece_names_our_model_and_the_engines_count(
    site: Orchestrator, server: OpenAiServer
) -> None:
    await served(site, server)
    body = (await site.ask("Hi", model=OURS)).json()
    assert (body["model"], body["choices"][0]["message"]["content"]) == (OURS, SAID)
    assert body["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


async def test_a_job_is_written_down_like_any_other(
    site: Orchestrator, server: OpenAiServer
) -> None:
    await served(site, server)
    job_id = await site.submit("Hi", model=OURS, max_tokens=9, repetition_penalty=1.5)
    told = await events_of(site, job_id)
    assert "".join(it["t"] for kind, it in told if kind == "token") == SAID
    kind, end = told[-1]
    assert (kind, end["tokens_out"], end["stop_reason"]) == ("end", 3, "stop")
    assert end["usage"]["prompt_tokens"] == 7
    shown = await site.job(job_id)
    assert (shown["status"], shown["model"], shown["output"]) == ("completed", OURS, SAID)
    assert shown["attempts"][0]["worker_name"] == "worker-openai-vllm"
    (asked,) = server.chats
    assert (asked.body["max_tokens"], asked.body["repetition_penalty"]) == (9, 1.5)
    assert asked.body["seed"] == shown["seed"]


async def test_a_raw_prompt_is_completed_as_it_stands(
    site: Orchestrator, server: OpenAiServer
) -> None:
    await served(site, server)
    job_id = await site.submit("Once", model=OURS, raw=True)
    assert (await site.ended(job_id))["output"] == SAID
    assert (server.chats[0].path, server.chats[0].body["prompt"]) == ("/v1/completions", "Once")


async def test_the_prefix_of_its_address_is_kept(site: Orchestrator) -> None:
    with OpenAiServer(prefix="/proxy/llm") as server:
        await served(site, server)
        assert (await site.ask("Hi", model=OURS)).status_code == 200
        assert server.chats[0].path == "/proxy/llm/v1/chat/completions"


QUIRKS = [
    {"field_prefix": "data:"},
    {"comments": True},
    {"spaced_json": True},
    {"says_done": False},
    {"says_done": False, "counts": False},
    {"counts_always": True},
    {"fingerprint": None},
    {"words": tuple("abcdefghijklmnop")},
    {"spaced_json": True, "field_prefix": "data:", "comments": True, "says_done": False},
]


@pytest.mark.parametrize("quirks", QUIRKS, ids="+".join)
async def test_quirks_of_real_servers_do_not_reach_the_client(
    site: Orchestrator, quirks: dict[str, Any]
) -> None:
    with OpenAiServer(**quirks) as server:
        await served(site, server)
        async with site.chat("Hi", model=OURS) as stream:
            chunks = await chunks_of(stream)
        job = await site.ended(await site.submit("Hi", model=OURS))
    assert chunks.pop() == "[DONE]"
    assert said(chunks) == "".join(server.manners.words)
    assert {chunk["model"] for chunk in chunks} == {OURS}
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert b"theirs" not in stream.raw
    assert (job["status"], job["output"]) == ("completed", "".join(server.manners.words))


async def test_what_nobody_counted_is_null_and_never_invented(site: Orchestrator) -> None:
    with OpenAiServer(counts=False) as server:
        await served(site, server)
        reply = await site.ask("Hi", model=OURS)
        job_id = await site.submit("Hi", model=OURS)
        told = await events_of(site, job_id)
    assert reply.json()["usage"] is None
    assert (told[-1][1]["usage"], told[-1][1]["timings"]) == (None, None)
    assert (await site.job(job_id))["tokens_out"] == 3
    usage = await until(lambda: site.store.usage(job_id), what="the usage row")
    assert usage is not None
    assert usage.completion_tokens == 3


async def test_an_engine_that_counts_on_the_way_and_dies_has_not_ended(site: Orchestrator) -> None:
    with OpenAiServer(counts_always=True, dies_after=2) as server:
        await served(site, server)
        async with site.chat("Hi", model=OURS) as stream:
            chunks = await chunks_of(stream)
    assert said(chunks[:-1]) == "Hello "
    assert "error" in chunks[-1]


@pytest.mark.parametrize(
    ("status", "words", "code", "line"),
    [
        (500, None, 500, "the engine is ill"),
        (400, {"object": "error", "message": "too long"}, 400, "too long"),
        (400, {"detail": "not so"}, 400, "not so"),
    ],
)
async def test_an_engines_refusal_is_told_in_its_words(
    site: Orchestrator, status: int, words: object, code: int, line: str
) -> None:
    with OpenAiServer(chat_status=status, chat_error=words) as server:
        await served(site, server)
        reply = await site.ask("Hi", model=OURS)
    assert (reply.status_code, reply.json()["error"]["message"]) == (code, line)


async def test_models_of_engines_are_listed_by_their_exact_names(
    site: Orchestrator, server: OpenAiServer
) -> None:
    await served(site, server)
    cards = (await site.client.get("/v1/models")).json()["data"]
    assert [card["id"] for card in cards] == ["tiny-chat", "tiny-story", OURS]
    assert "context_length" not in cards[-1]
    assert cards[0]["context_length"] == 1024
    assert (await site.client.get(f"/v1/models/{OURS}")).json() == cards[-1]
    unknown = await site.ask("Hi", model="bigg")
    assert unknown.status_code == 404
    assert OURS in unknown.json()["error"]["message"]
    assert (await site.ask("Hi", model="BIG")).status_code == 404


async def test_a_catalogue_model_may_also_be_served_by_an_engine(
    site: Orchestrator, server: OpenAiServer
) -> None:
    await served(site, server, model="tiny-chat")
    body = (await site.ask("Hi")).json()
    assert (body["model"], body["choices"][0]["message"]["content"]) == ("tiny-chat", SAID)
    assert "temperature" not in server.chats[0].body
    cards = (await site.client.get("/v1/models")).json()["data"]
    assert [card["id"] for card in cards] == ["tiny-chat", "tiny-story"]
