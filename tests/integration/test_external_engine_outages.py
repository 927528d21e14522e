"""Engines that somebody else runs come and go: what becomes of the work that needs them."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator_core.contracts.pool import WorkerStatus
from orchestrator_core.scheduler.events import Tick
from orchestratord.store.memory import MemoryStore
from orchestratord.upstream import exchange
from support.event_streams import chunks_of, said
from support.external_engines import OURS, SAID, THEIRS, events_of, external, served
from support.fake_engine import FakeEngine
from support.openai_server import OpenAiServer, make_certificate
from support.orchestrator import Orchestrator, running_orchestrator
from support.waiting import until


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
    await until(
        lambda: pump._closing.status == 200 and pump.tokens == len(words), what="the answer"
    )
    site.sweep(patience_s / 2)
    assert not call.client_closed.is_set()
    site.sweep(patience_s)
    await call.gone()

    async def reason() -> bool:
        attempts = (await site.job(job_id))["attempts"]
        return bool(attempts) and attempts[0]["reason"] == "WORKER_LOST"

    await until(reason, what="the attempt's reason")
    await site.client.delete(f"/v2/tasks/{job_id}")


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
