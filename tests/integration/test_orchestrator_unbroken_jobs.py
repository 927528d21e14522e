"""A stored job that loses its worker, or its orchestrator, goes on behind what is on disk."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator_core.scheduler.events import Tick
from orchestratord.store.sqlite import SqliteStore, StoreOptions
from support.continued_answers import begin, completion, end_rest, go_on, render, spelt, survivor
from support.event_streams import payload
from support.fake_engine import FakeEngine
from support.orchestrator import Orchestrator, ready_worker, running_orchestrator
from support.waiting import until

WHOLE_USAGE = {"completion_tokens": 5, "prompt_tokens": 7, "total_tokens": 12}


@pytest.fixture
async def other() -> AsyncIterator[FakeEngine]:
    """An engine whose worker the pool tells of later."""
    async with FakeEngine.listening() as engine:
        yield engine


async def test_a_stored_job_goes_on_and_says_so_in_its_events(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    job_id = await site.submit(max_tokens=9)
    async with site.events(job_id) as stream:
        call = await engine.next_call()
        await begin(call, "one", " two", " three")
        await stream.until_kind("token")
        call.reset()
        told = payload(await stream.until_kind("attempt"))
        assert (told["attempt"], told["reason"], told["keep_tokens"]) == (2, "WORKER_LOST", 3)
        await site.beat(survivor(other))
        rest = await go_on(other, behind="one two three", tokens=[11, 12, 13])
        assert rest.body["max_tokens"] == 6
        await rest.open()
        await rest.send(completion(" four"))
        assert (await stream.next()).event == "started"
        found = payload(await stream.next())
        assert (found["t"], found["i"], found["n"]) == (" four", 3, 1)
        await rest.send(completion(" five"))
        await end_rest(rest, 3, 2)
        await stream.until_kind("end")
        await stream.rest()
        seen = stream.raw
    assert await site.replay(job_id) == seen
    job = await site.ended(job_id)
    assert (job["status"], job["output"]) == ("completed", "one two three four five")
    assert (job["tokens_out"], job["usage"]) == (5, WHOLE_USAGE)
    lost, ended = job["attempts"]
    assert (lost["status"], lost["tokens"], lost["kept_tokens"]) == ("broken", 3, 0)
    assert (ended["status"], ended["kept_tokens"]) == ("ended", 3)


async def test_a_raw_prompt_goes_on_without_a_template(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    job_id = await site.submit(prompt="Once upon", raw=True)
    call = await engine.next_call()
    await call.open()
    await call.send(completion(" a"))
    async with site.events(job_id) as stream:
        await stream.until_kind("token")
        call.reset()
        await stream.until_kind("attempt")
    await site.beat(survivor(other))
    cutting = await other.next_call()
    assert cutting.body["content"] == " a"
    await cutting.refuse(200, spelt(" a", [11]))
    rest = await other.next_call()
    assert rest.body["prompt"] == ["Once upon", 11]
    await rest.open()
    await rest.send(completion(" time"))
    await end_rest(rest, 1, 1)
    assert (await site.ended(job_id))["output"] == " a time"


async def test_a_stored_job_that_cannot_go_on_starts_over_and_says_so(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    job_id = await site.submit(stop=["x"])
    async with site.events(job_id) as stream:
        call = await engine.next_call()
        await begin(call, "half")
        await stream.until_kind("token")
        call.reset()
        assert payload(await stream.until_kind("attempt"))["keep_tokens"] == 0
    await site.beat(survivor(other))
    await (await other.next_call()).answer("whole")
    assert (await site.ended(job_id))["output"] == "whole"


@pytest.mark.parametrize("bad", [b"[]", b"{", b'{"tokens": [1, "x"]}', b'{"tokens": []}'])
async def test_a_worker_that_makes_no_sense_before_the_rest_is_left_for_another(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine, bad: bytes
) -> None:
    job_id = await site.submit()
    async with site.events(job_id) as stream:
        call = await engine.next_call()
        await begin(call, "one")
        await stream.until_kind("token")
        await call.raw(b"not a chunk size\r\n")
        await site.beat(survivor(other))
        await render(other)
        await (await other.next_call()).refuse(200, bad)
        told = payload(await stream.until_kind("attempt"))
        while told["attempt"] != 3:
            told = payload(await stream.until_kind("attempt"))
        # What was kept before is kept still.
        assert told["keep_tokens"] == 1
        async with FakeEngine.listening() as third:
            # From the second time on the job pauses first.
            site.clock.advance(30)
            site.parts.loop.post(Tick(at=site.clock.monotonic_s()))
            await site.beat(ready_worker(third.port, 3))
            rest = await go_on(third, behind="one", tokens=[11])
            await rest.open()
            await rest.send(completion(" two"))
            await end_rest(rest, 1, 1)
            assert (await site.ended(job_id))["output"] == "one two"


async def test_a_cancel_ends_the_wait_for_a_template_at_once(
    site: Orchestrator, engine: FakeEngine, other: FakeEngine
) -> None:
    job_id = await site.submit()
    async with site.events(job_id) as stream:
        call = await engine.next_call()
        await begin(call, "one")
        await stream.until_kind("token")
        call.reset()
        await stream.until_kind("attempt")
    await site.beat(survivor(other))
    rendering = await other.next_call()
    reply = await site.client.post(f"/v2/tasks/{job_id}/cancel")
    assert reply.status_code < 300
    await rendering.gone()
    job = await site.ended(job_id)
    assert (job["status"], job["output"]) == ("cancelled", "one")


async def test_a_restart_goes_on_behind_what_is_on_disk(tmp_path: Path) -> None:
    async with FakeEngine.listening() as engine:
        store = await SqliteStore.open(tmp_path / "o.db", StoreOptions(synchronous="NORMAL"))
        async with running_orchestrator(tmp_path, store=store) as site:
            await site.register(ready_worker(engine.port))
            job_id = await site.submit(max_tokens=9)
            call = await engine.next_call()
            await begin(call, "one", " two")
            async with site.events(job_id) as stream:
                while len(payload(await stream.until_kind("token"))["t"]) != len(" two"):
                    pass
                before = stream.raw
        await store.close()
        store = await SqliteStore.open(tmp_path / "o.db", StoreOptions(synchronous="NORMAL"))
        async with running_orchestrator(tmp_path, store=store) as site:
            await site.register(ready_worker(engine.port))
            rest = await go_on(engine, behind="one two", tokens=[11, 12])
            assert rest.body["max_tokens"] == 7
            await rest.open()
            await rest.send(completion(" three"))
            await end_rest(rest, 2, 1)
            job = await site.ended(job_id)
            assert (job["status"], job["output"]) == ("completed", "one two three")
            assert job["tokens_out"] == 3
            assert job["usage"]["completion_tokens"] == 3
            replay = await site.replay(job_id)
            assert replay.startswith(before)
            assert b'"reason":"ORCHESTRATOR_RESTART","keep_tokens":2' in replay
            assert site.failures == []
        await store.close()


async def test_a_cancel_does_not_wait_for_a_connection(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf:
        port = deaf.getsockname()[1]
        # The system takes one call for a listener that takes none; the next has to wait.
        with socket.create_connection(("127.0.0.1", port)):
            async with running_orchestrator(tmp_path, connect_timeout_s=300) as site:
                await site.register(ready_worker(port))
                job_id = await site.submit()
                await until(lambda: len(site.parts.pumps) == 1, what="the attempt")
                assert _pump_tasks(job_id)
                await site.client.post(f"/v2/tasks/{job_id}/cancel")
                await until(lambda: not _pump_tasks(job_id), what="the end of the attempt")
                assert (await site.ended(job_id))["status"] == "cancelled"


def _pump_tasks(job_id: str) -> list[str]:
    names = [task.get_name() for task in asyncio.all_tasks() if not task.done()]
    return [name for name in names if name == f"pump {job_id}"]
