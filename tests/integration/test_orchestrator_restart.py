"""The end of a daemon and its next life on the same file: what clients see, and what every job does."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from orchestrator_core.config.layout import Layout
from orchestrator_core.errors import Code, HostError, Refusal
from orchestrator_core.platforms import select
from orchestratord.app.daemon import Daemon, Site
from orchestratord.settings import OrchestratorSettings
from orchestratord.store.sqlite import SqliteStore, StoreOptions
from support.event_streams import EventStream, payload
from support.fake_engine import FakeEngine
from support.orchestrator import Orchestrator, chat_body, ready_worker, running_orchestrator
from support.waiting import until

# An answer that may end anywhere starts over instead of going on where it was cut.
NEVER_SAID = ["never said"]


@contextlib.asynccontextmanager
async def life(folder: Path, **settings: object) -> AsyncIterator[Orchestrator]:
    """One life of an orchestrator on the file of this folder."""
    store = await SqliteStore.open(folder / "o.db", StoreOptions(synchronous="NORMAL"))
    try:
        async with running_orchestrator(folder, store=store, **settings) as site:
            yield site
            assert site.failures == []
    finally:
        await store.close()


async def test_every_job_ends_once_over_a_restart_and_in_its_old_order(tmp_path: Path) -> None:
    async with FakeEngine.listening() as engine:
        async with life(tmp_path) as site:
            await site.register(ready_worker(engine.port))
            running = await site.submit("running", stop=NEVER_SAID)
            call = await engine.next_call()
            await call.open()
            async with site.events(running) as stream:
                await call.say("half")
                await stream.until_kind("token")
                before = stream.raw
            batch = await site.submit("batch", priority="batch")
            waiting = [await site.submit(f"{number}") for number in range(5)]
            gone = await site.submit("gone")
            await site.client.delete(f"/v2/tasks/{gone}")
        await call.gone()
        async with life(tmp_path) as site:
            assert (await site.job(running))["status"] == "queued"
            async with site.events(running) as stream:
                await site.register(ready_worker(engine.port))
                order: list[str] = []
                for _ in range(7):
                    call = await engine.next_call()
                    order.append(call.body["messages"][0]["content"])
                    await call.answer("whole")
                events = await stream.rest()
            assert order == ["running", "0", "1", "2", "3", "4", "batch"]
            assert stream.raw.startswith(before)
            kinds = [found.event for found in events]
            assert kinds == ["queued", "started", "token", "attempt", "started", "token", "end"]
            assert payload(events[3])["reason"] == "ORCHESTRATOR_RESTART"
            for job_id in (running, batch, *waiting):
                shown = await site.ended(job_id)
                assert (shown["status"], shown["output"]) == ("completed", "whole")
                replay = await site.replay(job_id)
                assert replay.count(b"event: end") + replay.count(b"event: error") == 1
            assert (await site.job(gone))["status"] == "cancelled"
        async with life(tmp_path) as site:
            assert len(site.parts.jobs) == 0
            assert stream.raw == await site.replay(running)


async def test_a_job_that_was_sent_but_not_taken_restarts_without_a_word(tmp_path: Path) -> None:
    async with FakeEngine.listening() as engine:
        async with life(tmp_path) as site:
            await site.register(ready_worker(engine.port))
            job_id = await site.submit()
            await engine.next_call()
        async with life(tmp_path) as site:
            await site.register(ready_worker(engine.port))
            await (await engine.next_call()).answer("x")
            shown = await site.ended(job_id)
            assert [found["status"] for found in shown["attempts"]] == ["broken", "ended"]
            assert b"event: attempt" not in await site.replay(job_id)


async def test_a_cancel_and_a_deadline_survive_a_restart(tmp_path: Path) -> None:
    async with life(tmp_path) as site:
        due = await site.submit(deadline_ms=1000)
        wanted = await site.submit(deadline_ms=60_000)
        site.clock.advance(0.5)
        clock = site.clock
    clock.advance(2)
    async with life(tmp_path, clock=clock) as site:
        shown = await site.ended(due)
        assert (shown["status"], shown["error_code"]) == ("expired", "EXPIRED")
        assert (await site.job(wanted))["status"] == "queued"


async def test_a_reader_resumes_over_the_restart_without_a_hole(tmp_path: Path) -> None:
    async with FakeEngine.listening() as engine:
        async with life(tmp_path) as site:
            await site.register(ready_worker(engine.port))
            job_id = await site.submit(stop=NEVER_SAID)
            call = await engine.next_call()
            await call.open()
            async with site.events(job_id) as stream:
                await call.say("a")
                await stream.until_kind("token")
                first = stream.raw
                site.parts.readers.close()
                assert await stream.frame() == b": restarting\n\n"
                assert await stream.frame() == b""
            async with site.events(job_id) as late:
                assert await late.frame() == b": restarting\n\n"
        async with life(tmp_path) as site:
            await site.register(ready_worker(engine.port))
            async with site.events(job_id, last_event_id="3") as stream:
                await (await engine.next_call()).answer("b")
                assert (await stream.rest())[-1].event == "end"
            assert first + stream.raw == await site.replay(job_id)


@dataclass
class Running:
    """A real daemon in this process's loop."""

    daemon: Daemon
    client: httpx.AsyncClient
    layout: Layout
    task: asyncio.Task[None]


@contextlib.asynccontextmanager
async def real_daemon(folder: Path, **settings: object) -> AsyncIterator[Running]:
    """Run the composition root itself; a test ends it by its signal."""
    layout = Layout.from_env({"LLORCH_HOME": str(folder)})
    for needed in (layout.state, layout.orchestrator_folder):
        needed.mkdir(parents=True, exist_ok=True)
    chosen = OrchestratorSettings.model_validate({"headers_after_s": 0.05, **settings})
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    daemon = Daemon(Site(chosen, layout, select.current(), {}, "1.2.3"), listener)
    loop = asyncio.get_running_loop()
    task = loop.create_task(daemon.run())
    run_file = layout.run_folder / "orchestratord.json"
    await until(lambda: run_file.exists() or task.done(), what="the run file")
    headers = {"authorization": f"Bearer {layout.admin_key.read_text().strip()}"}
    client = httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=10)
    try:
        yield Running(daemon, client, layout, task)
    finally:
        await client.aclose()
        if not task.done():
            daemon._fail(RuntimeError("the test is over"))
            await asyncio.gather(task, return_exceptions=True)
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(signum)
        listener.close()


async def test_a_daemon_that_is_told_to_stop_says_so_to_everybody(tmp_path: Path) -> None:
    async with real_daemon(tmp_path, shutdown_grace_s=0) as running:
        client = running.client
        for path in (running.layout.admin_key, running.layout.local_pool_key):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        body = {"model": "tiny-chat", "prompt": "Hello"}
        job_id = (await client.post("/v2/tasks", json=body)).json()["job_id"]
        asked = asyncio.create_task(client.post("/v1/chat/completions", json=chat_body()))
        chat = client.stream("POST", "/v1/chat/completions", json=chat_body(stream=True))
        async with chat as stream, client.stream("GET", f"/v2/tasks/{job_id}/events") as events:
            reader, called = EventStream(events), EventStream(stream)
            assert (await reader.next()).event == "queued"
            os.kill(os.getpid(), signal.SIGTERM)
            assert await reader.frame() == b": restarting\n\n"
            assert await reader.frame() == b""
            last = json.loads((await called.frame())[6:])
            assert last["error"]["code"] == "draining"
            assert await called.frame() == b""
        refused = await asked
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "draining")
        assert int(refused.headers["retry-after"]) >= 1
        await running.task
        assert not (running.layout.run_folder / "orchestratord.json").exists()
    async with real_daemon(tmp_path) as running:
        shown = (await running.client.get(f"/v2/tasks/{job_id}")).json()
        assert shown["status"] == "queued"
        os.kill(os.getpid(), signal.SIGTERM)
        await running.task


async def test_open_answers_get_their_grace_and_a_second_signal_ends_it(tmp_path: Path) -> None:
    async with real_daemon(tmp_path, shutdown_grace_s=60) as running:
        asked = asyncio.create_task(running.client.post("/v1/chat/completions", json=chat_body()))

        async def is_open() -> bool:
            metrics = await running.client.get("/metrics")
            return "orchd_calls_open 1.0" in metrics.text

        await until(is_open, what="the open call")
        os.kill(os.getpid(), signal.SIGTERM)

        async def is_stopping() -> bool:
            return (await running.client.get("/readyz")).status_code == 503

        await until(is_stopping, what="the stopping daemon")
        assert not asked.done()
        os.kill(os.getpid(), signal.SIGTERM)
        assert (await asked).status_code == 503
        await running.task


async def test_a_failed_store_ends_the_daemon_with_its_reason(tmp_path: Path) -> None:
    async with real_daemon(tmp_path) as running:
        problem = HostError(Refusal(Code.DATA_CORRUPT, "the file is damaged"))
        running.daemon._fail(problem)
        with pytest.raises(HostError, match="not safe any more"):
            await running.task


async def test_a_read_that_fails_ends_the_daemon_before_it_shows_anything_wrong(
    tmp_path: Path,
) -> None:
    async with real_daemon(tmp_path) as running:
        body = {"model": "tiny-chat", "prompt": "Hello"}
        assert (await running.client.post("/v2/tasks", json=body)).status_code == 202
        database = running.layout.database
        for path in (database, database.with_name(f"{database.name}-wal")):
            os.truncate(path, 0)
        reply = await running.client.get("/v2/tasks")
        assert reply.status_code == 500
        assert "check the disk" in reply.json()["error"]["message"]
        await until(running.task.done, what="the end of the daemon")
        with pytest.raises(HostError, match=r"not safe any more: .*the store failed"):
            await running.task


async def test_a_key_file_that_cannot_be_written_is_told_as_such(tmp_path: Path) -> None:
    layout = Layout.from_env({"LLORCH_HOME": str(tmp_path)})
    layout.admin_key.mkdir(parents=True)
    layout.orchestrator_folder.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        site = Site(OrchestratorSettings.model_validate({}), layout, select.current(), {}, "1")
        # Not a group of errors: main knows how to put one error of a file into one line.
        with pytest.raises(IsADirectoryError):
            await Daemon(site, listener).run()
