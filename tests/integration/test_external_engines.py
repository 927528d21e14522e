"""Engines that somebody else runs, behind a real orchestratord and a pool that reports them."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from orchestrator_core.contracts.pool import (
    ModelFile,
    Owner,
    WorkerReport,
    WorkerSpec,
    WorkerStatus,
)
from orchestrator_core.scheduler.events import Tick
from orchestrator_core.testing.reports import worker_report
from orchestratord.store.memory import MemoryStore
from orchestratord.upstream import exchange
from support.fake_engine import FakeEngine
from support.openai_server import OpenAiServer, make_certificate
from support.orchestrator import (
    Orchestrator,
    chunks_of,
    payload,
    running_orchestrator,
    said,
)
from support.waiting import until

OURS, THEIRS = "big", "org/big-model"
SAID = "Hello you"


@pytest.fixture
def server() -> Iterator[OpenAiServer]:
    """A server that somebody else runs."""
    with OpenAiServer() as server:
        yield server


def external(
    url: str,
    *,
    status: WorkerStatus = WorkerStatus.READY,
    incarnation: int = 1,
    error: str | None = None,
    key: str | None = None,
    model: str = OURS,
    upstream: str = THEIRS,
    number: int = 7,
) -> WorkerReport:
    """A model of it as its pool reports it."""
    spec = WorkerSpec(
        model=ModelFile(model_id=model, source="external", file=upstream),
        engine="openai",
        parallel=2,
    )
    report = worker_report(
        f"wrk_{number:026d}",
        owner=Owner.OPERATOR,
        status=status,
        spec=spec,
        incarnation=incarnation,
        error_code="UNREACHABLE" if error else None,
        error_message=error,
    )
    named = {"name": "worker-openai-vllm", "pid": None, "url": url}
    return report.model_copy(update={**named, "key": SecretStr(key) if key else None})


async def served(site: Orchestrator, server: OpenAiServer, **more: Any) -> None:
    """Let a pool report the server's model."""
    await site.register(external(f"{server.url}/v1", **more))


async def events_of(site: Orchestrator, job_id: str) -> list[tuple[str, dict[str, Any]]]:
    async with site.events(job_id) as stream:
        return [(it.event, payload(it)) for it in await stream.rest()]


async def test_a_chat_streams_under_our_names(site: Orchestrator, server: OpenAiServer) -> None:
    await served(site, server)
    async with site.chat("Hi", model=OURS, temperature=0.5) as stream:
        chunks = await chunks_of(stream)
    assert chunks.pop() == "[DONE]"
    assert said(chunks) == SAID
    assert {chunk["model"] for chunk in chunks} == {OURS}
    assert {chunk["system_fingerprint"] for chunk in chunks} == {"llorch-1.2.3"}
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


async def test_a_job_whose_engine_dies_starts_over_once_the_pool_has_seen_it_again(
    site: Orchestrator, server: OpenAiServer
) -> None:
    await served(site, server)
    server.manners.dies_after = 1
    job_id = await site.submit("Hi", model=OURS)

    async def waits_again() -> bool:
        return (await site.job(job_id))["status"] == "queued" and bool(server.chats)

    await until(waits_again, what="the broken attempt")
    server.manners.dies_after = None
    await site.beat(external(f"{server.url}/v1"))
    told = await events_of(site, job_id)
    assert ("attempt" in [kind for kind, _ in told], told[-1][0]) == (True, "end")
    assert (await site.job(job_id))["output"] == SAID


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


async def test_a_server_that_takes_its_time_is_not_taken_for_lost(
    site: Orchestrator, server: OpenAiServer
) -> None:
    await served(site, server)
    server.manners.holds = threading.Event()
    async with site.chat("Hi", model=OURS) as stream:
        await until(lambda: len(server.chats), what="the question")
        await stream.next()
        # No ping will ever come: only the progress counts, and of that there was some just now.
        for pump in site.parts.pumps._pumps.values():
            now = asyncio.get_running_loop().time()
            pump.check(loop_time=now + 3600, silence_s=25, stall_s=60)
        server.manners.holds.set()
        chunks = await chunks_of(stream)
    assert chunks[-1] == "[DONE]"


@pytest.mark.parametrize(("words", "patience_s"), [((), 600), (("x",), 60)])
async def test_a_cold_engine_has_longer_to_its_first_token_than_between_two(
    site: Orchestrator, engine: FakeEngine, words: tuple[str, ...], patience_s: float
) -> None:
    await site.register(external(f"http://127.0.0.1:{engine.port}/v1"))
    job_id = await site.submit("Hi", model=OURS)
    call = await engine.next_call()
    await call.open()
    await call.say(*words)
    (pump,) = site.parts.pumps._pumps.values()
    await until(lambda: pump._status == 200 and pump.tokens == len(words), what="the answer")
    site.sweep(patience_s / 2)
    assert not call.client_closed.is_set()
    site.sweep(patience_s)
    await call.gone()

    async def reason() -> bool:
        return (await site.job(job_id))["attempts"][0]["reason"] == "WORKER_LOST"

    await until(reason, what="the attempt's reason")
    await site.client.delete(f"/v2/tasks/{job_id}")


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


async def test_work_for_an_engine_that_is_down_waits_and_nothing_is_started(
    site: Orchestrator, server: OpenAiServer
) -> None:
    down = "http://127.0.0.1:9/v1 cannot be reached"
    reply = await site.register(
        external(f"{server.url}/v1", status=WorkerStatus.FAILED, error=down)
    )
    job_id = await site.submit("Hi", model=OURS)
    shown = await site.job(job_id)
    assert shown["status"] == "queued"
    assert f"worker-openai-vllm is failed: {down}" in shown["why"]
    assert any("somebody else runs the engine" in line for line in shown["why"])
    beat = await site.beat(external(f"{server.url}/v1", status=WorkerStatus.FAILED, error=down))
    assert (reply["wanted"]["workers"], beat["wanted"]["workers"]) == ([], [])
    await site.beat(external(f"{server.url}/v1", incarnation=2))
    assert (await site.ended(job_id))["output"] == SAID


async def test_a_call_for_an_engine_that_is_down_ends_after_the_usual_wait(
    site: Orchestrator, server: OpenAiServer
) -> None:
    await served(site, server, status=WorkerStatus.FAILED, error="away")
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(site.ask("Hi", model=OURS))
        await until(lambda: len(site.parts.open_calls), what="the call")
        site.sweep(121)
    reply = await asked
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "loading")
    assert server.chats == []


async def test_a_pool_that_went_silent_keeps_its_models_known(
    site: Orchestrator, server: OpenAiServer
) -> None:
    await served(site, server)
    site.clock.advance(60)
    site.parts.loop.post(Tick(at=site.clock.monotonic_s()))
    job_id = await site.submit("Hi", model=OURS)
    assert (await site.job(job_id))["status"] == "queued"
    await served(site, server, incarnation=2)
    assert (await site.ended(job_id))["output"] == SAID


async def test_a_model_that_is_taken_out_of_the_settings_is_unknown_again(
    site: Orchestrator, server: OpenAiServer
) -> None:
    await served(site, server)
    await site.beat()
    assert (await site.ask("Hi", model=OURS)).status_code == 404


async def test_nobody_here_stops_an_engine_of_somebody_else(
    site: Orchestrator, server: OpenAiServer
) -> None:
    await served(site, server)
    reply = await site.client.post("/v2/workers/worker-openai-vllm/stop")
    assert reply.status_code == 409, reply.text
    assert "run by somebody else" in reply.json()["error"]["message"]
    assert (await site.ask("Hi", model=OURS)).status_code == 200


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/v1", "http://0.0.0.0:80/v1", "http://2852039166:80/v1",
        "http://me:secret@127.0.0.1:80/v1", "http://127.0.0.1:80/v1?x=1", "ftp://127.0.0.1:80/v1",
        "http://127.0.0.1:80/../v1", "http://[::ffff:169.254.169.254]:80/v1", "https://169.254.169.254/v1",
    ],
)  # fmt: skip
async def test_an_address_at_which_no_engine_can_be_is_refused(
    site: Orchestrator, url: str
) -> None:
    body = site.registration([external(url)], session_id=site.ids.session())
    reply = await site.as_pool("/v2/pools/register", body)
    assert reply.status_code == 400
    assert reply.json()["error"]["details"] == {"param": "workers.0.url"}
    assert "secret" not in reply.text


async def test_a_job_outlives_a_restart_before_its_pool_is_back(
    tmp_path: Path, server: OpenAiServer
) -> None:
    store = MemoryStore()
    async with running_orchestrator(tmp_path, store=store) as site:
        await served(site, server, status=WorkerStatus.FAILED, error="away")
        job_id = await site.submit("Hi", model=OURS, temperature=0.25)
    async with running_orchestrator(tmp_path, store=store, clock=site.clock) as site:
        assert (await site.job(job_id))["status"] == "queued"
        reply = await site.register()
        assert reply["wanted"]["workers"] == []
        await served(site, server)
        assert (await site.ended(job_id))["output"] == SAID
    assert server.chats[0].body["temperature"] == 0.25
    assert server.chats[0].body["model"] == THEIRS


@pytest.fixture
def certificate(tmp_path: Path) -> Iterator[Path]:
    """A certificate that this system does not know, and no memory of what it trusts."""
    exchange._trusted.cache_clear()
    yield make_certificate(tmp_path)
    exchange._trusted.cache_clear()


async def test_an_engine_behind_tls_answers_once_its_certificate_is_trusted(
    site: Orchestrator, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAiServer(certificate=certificate) as server:
        await served(site, server)
        assert server.url.startswith("https://")
        job_id = await site.submit("Hi", model=OURS)

        async def broke() -> bool:
            attempts = (await site.job(job_id))["attempts"]
            return bool(attempts) and attempts[0]["status"] == "broken"

        await until(broke, what="the refusal of the certificate")
        assert any("certificate" in line for line in (await site.job(job_id))["why"])
        assert server.chats == []
        exchange._trusted.cache_clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        await site.beat(external(f"{server.url}/v1"))
        assert (await site.ended(job_id))["output"] == SAID
        async with site.chat("Hi", model=OURS) as stream:
            assert said((await chunks_of(stream))[:-1]) == SAID
