"""What becomes of a durable job whose engine dies, refuses or speaks nonsense."""

from pathlib import Path

import pytest

from orchestrator_core.scheduler.events import Tick
from support.event_streams import payload
from support.fake_engine import FakeEngine, event, text
from support.orchestrator import Orchestrator, ready_worker, running_orchestrator
from support.waiting import until


async def _status(site: Orchestrator, job_id: str, status: str) -> bool:
    return (await site.job(job_id))["status"] == status


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
    job_id = await site.submit(stop=["."])
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
    job_id = await site.submit(stop=["."])
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


async def test_an_engine_that_still_loads_is_asked_again_after_a_word_of_its_pool(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    await (await engine.next_call()).refuse(503, {"error": {"message": "Loading model"}})
    await until(lambda: _status(site, job_id, "queued"), what="the job back in its queue")
    await site.beat(ready_worker(engine.port))
    await (await engine.next_call()).answer("now")
    shown = await site.ended(job_id)
    assert (shown["status"], shown["output"]) == ("completed", "now")


async def test_an_engine_that_never_stops_loading_ends_the_job(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    for attempt in range(1, 4):
        await (await engine.next_call()).refuse(503, {"error": {"message": "Loading model"}})
        if attempt < 3:
            await until(lambda: _status(site, job_id, "queued"), what="the job back in its queue")
            await site.beat(ready_worker(engine.port))
            # From the second time on the job pauses first.
            site.clock.advance(30)
            site.parts.loop.post(Tick(at=site.clock.monotonic_s()))
            await site.beat(ready_worker(engine.port))
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
    await until(lambda: _status(site, job_id, "queued"), what="the job back in its queue")
    assert (await site.job(job_id))["attempts"][0]["status"] == "broken"


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
