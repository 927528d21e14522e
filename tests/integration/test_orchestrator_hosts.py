"""Workers of other hosts: their answers come through SSH or a relay as if they were here."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestratord.store.memory import MemoryStore
from support.continued_answers import begin, completion, end_rest, go_on
from support.event_streams import chunks_of, said
from support.fake_engine import FakeEngine
from support.far_hosts import FarHost, relayed_host, ssh_host
from support.orchestrator import Orchestrator, nobody_waits, ready_worker, running_orchestrator
from support.sshd import needs_sshd
from support.waiting import until


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    """An orchestrator without any pool."""
    store = MemoryStore()
    async with running_orchestrator(tmp_path, store=store) as site:
        yield site
        assert site.failures == []


@pytest.fixture(params=[pytest.param("ssh", marks=needs_sshd), "relay"])
async def host(
    request: pytest.FixtureRequest, site: Orchestrator, engine: FakeEngine, tmp_path: Path
) -> AsyncIterator[FarHost]:
    """A host behind one of the roads; its one worker is ready."""
    if request.param == "ssh":
        async with ssh_host(site, tmp_path) as host:
            await host.enrol()
            await host.register(ready_worker(engine.port))
            yield host
    else:
        async with relayed_host(site, tmp_path) as host:
            await host.register(ready_worker(engine.port))
            yield host


async def test_a_chat_streams_from_the_host(
    site: Orchestrator, host: FarHost, engine: FakeEngine
) -> None:
    async with site.chat("Hello") as stream:
        await (await engine.next_call()).answer("one", " two")
        chunks = await chunks_of(stream)
    assert chunks.pop() == "[DONE]"
    assert said(chunks) == "one two"


async def test_many_answers_come_over_it_at_once(
    site: Orchestrator, host: FarHost, engine: FakeEngine
) -> None:
    workers = [ready_worker(engine.port, number) for number in range(1, 9)]
    await host.beat(*workers)
    jobs = [await site.submit(f"Hello {number}") for number in range(16)]
    for _ in jobs:
        await (await engine.next_call()).answer("yes")
    assert [(await site.ended(job))["output"] for job in jobs] == ["yes"] * 16


async def test_a_client_that_leaves_ends_the_work_at_the_host(
    site: Orchestrator, host: FarHost, engine: FakeEngine
) -> None:
    async with site.chat("Hello") as stream:
        call = await engine.next_call()
        await begin(call, "one")
        await stream.next()
    await call.gone()
    await until(lambda: nobody_waits(site), what="a quiet orchestrator")
    await until(lambda: engine.slots_asked, what="a look at the slots")


async def test_a_cancelled_job_ends_the_work_at_the_host(
    site: Orchestrator, host: FarHost, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    await begin(call, "one")
    reply = await site.client.post(f"/v2/tasks/{job_id}/cancel")
    assert reply.status_code == 200
    await call.gone()
    assert (await site.ended(job_id))["status"] == "cancelled"


async def test_an_answer_that_the_way_has_cut_goes_on_once_the_host_is_back(
    site: Orchestrator, host: FarHost, engine: FakeEngine
) -> None:
    worker = ready_worker(engine.port)
    async with site.chat("Hello") as stream:
        call = await engine.next_call()
        await begin(call, "one", " two")
        first = [json.loads((await stream.next()).data) for _ in range(3)]
        host.cut()
        await call.gone()
        await host.come_back(worker)
        rest = await go_on(engine, behind="one two", tokens=[11, 12])
        await rest.open()
        await rest.send(completion(" three"))
        await end_rest(rest, 2, 3)
        chunks = [*first, *await chunks_of(stream)]
        job_id = stream.response.headers["x-job-id"]
    assert chunks.pop() == "[DONE]"
    assert said(chunks) == "one two three"
    job = await site.job(job_id)
    assert (job["status"], job["attempt"]) == ("completed", 2)
    lost, _ = job["attempts"]
    assert lost["tokens"] == 2


async def test_a_host_that_leaves_for_good_leaves_its_jobs_to_others(
    site: Orchestrator, host: FarHost, engine: FakeEngine
) -> None:
    async with FakeEngine.listening() as here, site.chat("Hello") as stream:
        call = await engine.next_call()
        await begin(call, "one", " two")
        first = [json.loads((await stream.next()).data) for _ in range(3)]
        await site.register(ready_worker(here.port, 2))
        host.cut()
        rest = await go_on(here, behind="one two", tokens=[11, 12])
        await rest.open()
        await rest.send(completion(" three"))
        await end_rest(rest, 2, 3)
        chunks = [*first, *await chunks_of(stream)]
    assert said(chunks[:-1]) == "one two three"
