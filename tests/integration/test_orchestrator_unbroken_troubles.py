"""What can go wrong between two workers: small, silent, old or lying ones, and unlucky moments."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator_core.contracts.pool import WorkerReport
from orchestrator_core.scheduler.events import Tick
from orchestratord.store.sqlite import SqliteStore, StoreOptions
from support.continued_answers import (
    RENDERED,
    begin,
    completion,
    end_rest,
    go_on,
    render,
    spelt,
    survivor,
)
from support.event_streams import EventStream, chunks_of, payload, said
from support.fake_engine import EngineCall, FakeEngine, event, finish, progress
from support.orchestrator import Orchestrator, ready_worker, running_orchestrator
from support.waiting import until

TOO_LONG = {
    "error": {"code": 400, "message": "too long", "type": "exceed_context_size_error"},
}


@pytest.fixture
async def other() -> AsyncIterator[FakeEngine]:
    """An engine whose worker the pool tells of later."""
    async with FakeEngine.listening() as engine:
        yield engine


@pytest.fixture
async def third() -> AsyncIterator[FakeEngine]:
    """The engine that is asked when the second one does not do."""
    async with FakeEngine.listening() as engine:
        yield engine


def small(report: WorkerReport) -> WorkerReport:
    """The same worker with less room than the answer takes that is cut."""
    spec = report.spec.model_copy(update={"ctx": 64})
    return report.model_copy(update={"spec": spec})


async def pause_over(site: Orchestrator) -> None:
    """From the second failure on a job pauses before it is tried again."""
    await until(lambda: len(site.parts.pumps) == 0, what="the broken attempt")
    site.clock.advance(30)
    site.parts.loop.post(Tick(at=site.clock.monotonic_s()))


async def cut(stream: EventStream, call: EngineCall, *words: str) -> list[Any]:
    """Let a worker die when its client has these words; returns what the client has."""
    await begin(call, *words)
    found = [json.loads((await stream.next()).data) for _ in range(len(words) + 1)]
    call.reset()
    return found


async def end_well(stream: EventStream, call: EngineCall, *words: str, kept: int) -> str:
    """Let the last worker make the rest; returns the rest as the client has it."""
    await call.open()
    for word in words:
        await call.send(completion(word))
    await end_rest(call, kept, len(words))
    chunks = await chunks_of(stream)
    assert chunks[-1] == "[DONE]", chunks
    return said(chunks[:-1])


async def test_a_worker_with_less_room_does_not_end_the_answer_early(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine, third: FakeEngine
) -> None:
    tokens = list(range(70))
    async with site.chat(max_tokens=90) as stream:
        await cut(stream, await engine.next_call(), *["x"] * 70)
        await site.beat(small(survivor(other)))
        call = await go_on(other, behind="x" * 70, tokens=tokens)
        await call.refuse(400, TOO_LONG)
        await pause_over(site)
        await site.beat(ready_worker(third.port, 3))
        call = await go_on(third, behind="x" * 70, tokens=tokens)
        assert call.body["max_tokens"] == 20
        assert await end_well(stream, call, " four", kept=70) == " four"


@pytest.mark.parametrize("status", [400, 401, 404, 500, 501])
async def test_a_worker_that_cannot_render_is_left_for_another(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine, third: FakeEngine, status: int
) -> None:
    async with site.chat() as stream:
        await cut(stream, await engine.next_call(), "one")
        await site.beat(survivor(other))
        await (await other.next_call()).refuse(status, {"error": {"message": "no such thing"}})
        await pause_over(site)
        await site.beat(ready_worker(third.port, 3))
        call = await go_on(third, behind="one", tokens=[1])
        assert await end_well(stream, call, " two", kept=1) == " two"


async def test_a_space_that_a_tokeniser_adds_is_taken_off(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    async with site.chat() as stream:
        await cut(stream, await engine.next_call(), "one")
        await site.beat(survivor(other))
        await render(other)
        await (await other.next_call()).refuse(200, spelt(" one", [1]))
        again = await other.next_call()
        assert again.body["content"] == "\none"
        await again.refuse(200, spelt(" \none", [5, 6, 7]))
        call = await other.next_call()
        # The two in front of the text stay out of the answer.
        assert call.body["prompt"] == [RENDERED, 7]
        assert await end_well(stream, call, " two", kept=1) == " two"


async def test_tokens_that_do_not_spell_the_text_are_never_gone_on_behind(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    async with site.chat() as stream:
        await cut(stream, await engine.next_call(), "one")
        for number in (2, 3):
            await site.beat(ready_worker(other.port, number))
            await render(other)
            await (await other.next_call()).refuse(200, spelt("two", [1]))
            await (await other.next_call()).refuse(200, spelt("two", [1]))
            await pause_over(site)
        chunks = await chunks_of(stream)
    assert chunks[-1]["error"]["code"] == "attempts_exhausted"
    assert "/tokenize" in chunks[-1]["error"]["message"]
    assert said(chunks[:-1]) == ""


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_that_has_said_its_last_word_is_complete_though_it_could_not_go_on(
    site: Orchestrator, engine: FakeEngine, stream: bool
) -> None:
    last = finish("stop").split(b"\n\n")[0] + b"\n\n"
    more: dict[str, object] = {"stop": ["x"], "stream": stream}
    asked = asyncio.create_task(site.ask(**more))
    call = await engine.next_call()
    await begin(call, "one", " two")
    await call.send(last)
    call.reset()
    reply = await asked
    assert len(engine.calls) == 1
    if not stream:
        (choice,) = reply.json()["choices"]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("one two", "stop")
        return
    *_, ended, done = reply.text.strip().split("\n\n")
    assert json.loads(ended[6:])["choices"][0]["finish_reason"] == "stop"
    assert done == "data: [DONE]"


async def test_a_client_that_leaves_ends_the_wait_for_a_template(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    async with site.chat() as stream:
        await cut(stream, await engine.next_call(), "one")
        await site.beat(survivor(other))
        rendering = await other.next_call()
        job_id = stream.response.headers["x-job-id"]
    await rendering.gone()
    job = await site.ended(job_id)
    assert (job["status"], job["tokens_out"]) == ("cancelled", 1)
    assert [found["kept_tokens"] for found in job["attempts"]] == [0, 1]


async def test_a_client_is_kept_alive_while_the_next_worker_reads_what_is_kept(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    async with site.chat() as stream:
        await cut(stream, await engine.next_call(), "one")
        await site.beat(survivor(other))
        call = await go_on(other, behind="one", tokens=[1])
        await call.open()
        await call.send(progress(0, 9))
        site.sweep(20)
        assert (await stream.frame()).startswith(b":")
        site.sweep(30)
        assert json.loads((await stream.next()).data)["choices"] == []
        await call.send(completion(" two"))
        assert json.loads((await stream.next()).data)["choices"][0]["delta"]["content"] == " two"
        site.sweep(50)
        # An answer that moves needs no empty events.
        assert (await stream.frame()).startswith(b":")


async def test_an_answer_with_thoughts_starts_over_after_a_restart(tmp_path: Path) -> None:
    async with FakeEngine.listening() as engine:
        store = await SqliteStore.open(tmp_path / "o.db", StoreOptions(synchronous="NORMAL"))
        async with running_orchestrator(tmp_path, store=store) as site:
            await site.register(ready_worker(engine.port))
            job_id = await site.submit()
            call = await engine.next_call()
            await begin(call)
            thought = {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]}
            await call.send(event(thought))
            await call.say("half")
            async with site.events(job_id) as stream:
                await stream.until_kind("token")
        await store.close()
        store = await SqliteStore.open(tmp_path / "o.db", StoreOptions(synchronous="NORMAL"))
        async with running_orchestrator(tmp_path, store=store) as site:
            await site.register(ready_worker(engine.port))
            again = await engine.next_call()
            assert again.request_line.startswith("POST /v1/chat/completions ")
            await again.answer("whole")
            async with site.events(job_id) as stream:
                assert payload(await stream.until_kind("attempt"))["keep_tokens"] == 0
            assert (await site.ended(job_id))["output"] == "whole"
        await store.close()


def check_one_row(raw: bytes, keeps: list[int]) -> None:
    """Each token of a log begins where the one before has ended, and nothing was taken back."""
    told = [json.loads(line[6:]) for line in raw.decode().splitlines() if line[:5] == "data:"]
    tokens = [found for found in told if "t" in found]
    assert [found["i"] for found in tokens] == [
        sum(found["n"] for found in tokens[:number]) for number in range(len(tokens))
    ]
    assert [found["keep_tokens"] for found in told if "keep_tokens" in found] == keeps


async def begun_and_lost(site: Orchestrator, engine: FakeEngine, other: FakeEngine) -> str:
    """A stored job whose worker died behind two tokens, with another worker to go on."""
    job_id = await site.submit(max_tokens=9)
    call = await engine.next_call()
    await begin(call, "a", "b")
    async with site.events(job_id) as stream:
        await stream.until_kind("token")
        call.reset()
        await stream.until_kind("attempt")
    await site.beat(survivor(other))
    return job_id


async def test_the_events_of_an_answer_are_one_row_over_a_death_and_two_restarts(
    tmp_path: Path,
) -> None:
    kept, seen, job_id = ["a", "b"], b"", ""
    async with FakeEngine.listening() as engine, FakeEngine.listening() as other:
        for start in range(3):
            store = await SqliteStore.open(tmp_path / "o.db", StoreOptions(synchronous="NORMAL"))
            async with running_orchestrator(tmp_path, store=store) as site:
                await site.register(ready_worker(engine.port))
                if start == 0:
                    job_id = await begun_and_lost(site, engine, other)
                left = other if start == 0 else engine
                call = await go_on(left, behind="".join(kept), tokens=[1] * len(kept))
                assert call.body["max_tokens"] == 9 - len(kept)
                word = "cde"[start]
                await call.open()
                await call.send(completion(word))
                kept.append(word)
                async with site.events(job_id) as stream:
                    while payload(await stream.until_kind("token"))["t"] != word:
                        pass
                    assert stream.raw.startswith(seen)
                    seen = stream.raw
                if start == 2:
                    await end_rest(call, 4, 1)
                    job = await site.ended(job_id)
                    assert (job["status"], job["output"]) == ("completed", "abcde")
                    assert [found["kept_tokens"] for found in job["attempts"]] == [0, 2, 3, 4]
                    assert job["usage"]["completion_tokens"] == 5
                    assert (await site.replay(job_id)).startswith(seen)
                assert site.failures == []
            await store.close()
    check_one_row(seen, keeps=[2, 3, 4])
