"""A cancel stops the real engine in every window, whoever asks for it and however the answer comes.

The worker is frozen where the window is, so that there is time to cancel in it; its own counters
say afterwards that it has not computed the answer that nobody wants.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest

from support.faults import listed
from support.home import Home
from support.raw_clients import RawClient
from support.unbroken_drill import Pulser
from support.waiting import until

pytestmark = pytest.mark.e2e

KINDS = ["stream", "plain", "durable"]
WAYS = ["DELETE", "gone"]
# A model that is paid for repeating itself never stops: less than half of its limit may be computed.
LENGTH = 900
LONG = {"temperature": 0, "max_tokens": LENGTH}
LONG_TASK = {**LONG, "repetition_penalty": 0.5}
LONG_CHAT = {**LONG, "repeat_penalty": 0.5}
LONG_PROMPT = "Count to one hundred"
HALF = LENGTH // 2
STOPS_WITHIN_S = 2.0
PULSE_S = 0.002
PULSES = 2000
NICE = 5
# Text of a stored job is written in groups: so often nothing new may have come.
QUIET_LOOKS = 10
FREEZING_TRIES = 8
LOADING_TRIES = 8
TOLD = re.compile(rb'"i":[0-9]+,"n":([0-9]+)')


@pytest.fixture(scope="module")
def warm_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """One installation for all windows, its first worker ready."""
    home = Home(tmp_path_factory.mktemp("cancel") / "home")
    home.folder.mkdir()
    try:
        home.start()
        home.llorch("jobs", "submit", "--model", "tiny-chat", "--prompt", "Hello").must()
        yield home
    finally:
        home.close()


@dataclass
class Engine:
    """One worker process: stopped and resumed from here, and asked what it has computed."""

    process: psutil.Process
    client: httpx.AsyncClient

    async def decoded(self) -> int:
        """The decoding steps of its whole life."""
        reply = await self.client.get("/metrics")
        line = next(
            line for line in reply.text.splitlines() if line.startswith("llamacpp:n_decode_total ")
        )
        return int(float(line.rpartition(" ")[2]))

    async def is_idle(self) -> bool:
        slots = (await self.client.get("/slots")).json()
        return not any(slot["is_processing"] for slot in slots)


@contextlib.asynccontextmanager
async def engine_of(home: Home, model: str) -> AsyncGenerator[Engine]:
    """The worker of a model."""

    def found() -> dict[str, object] | None:
        workers = (item for item in listed(home).values() if item["model"] == model)
        return next((item for item in workers if item["pid"] and item["port"]), None)

    worker = await until(found, timeout_s=30, what=f"a worker of {model}")
    assert worker is not None
    key = (home.state / "pool" / "workers" / f"{worker['id']}.key").read_text("utf-8").strip()
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{worker['port']}",
        headers={"Authorization": f"Bearer {key}"},
        timeout=20,
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=0),
    ) as client:
        process = psutil.Process(int(str(worker["pid"])))
        try:
            yield Engine(process, client)
        finally:
            with contextlib.suppress(psutil.Error):
                process.resume()


class Site:
    """The orchestrator as a client sees it."""

    def __init__(self, home: Home, client: httpx.AsyncClient) -> None:
        self.home = home
        self.client = client

    async def newest(self) -> str:
        items = (await self.client.get("/v2/tasks", params={"limit": 1})).json()["items"]
        return str(items[0]["id"])

    async def job(self, job_id: str) -> dict[str, Any]:
        return (await self.client.get(f"/v2/tasks/{job_id}")).json()

    async def ask(self, kind: str, model: str = "tiny-chat") -> tuple[str, RawClient]:
        """Send a request for a long answer and learn its id."""
        home, before = self.home, await self.newest()
        if kind == "durable":
            body = {
                "model": model,
                "prompt": LONG_PROMPT,
                "cancel_on_disconnect": True,
                **LONG_TASK,
            }
            job_id = (await self.client.post("/v2/tasks", json=body)).json()["job_id"]
            path = f"/v2/tasks/{job_id}/events"
            asked = await RawClient.ask(home.url, home.key, "GET", path)
            await asked.until(b"event: queued")
            return job_id, asked
        body = {
            "model": model,
            "messages": [{"role": "user", "content": LONG_PROMPT}],
            "stream": kind == "stream",
            **LONG_CHAT,
        }
        asked = await RawClient.ask(home.url, home.key, "POST", "/v1/chat/completions", body)

        async def is_there() -> bool:
            return await self.newest() != before

        await until(is_there, what="the call")
        return await self.newest(), asked

    async def has(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """Wait for a job's status."""
        found: dict[str, Any] = {}

        async def look() -> bool:
            found.update(await self.job(job_id))
            return found["status"] in statuses or bool(found["ended_at"])

        with contextlib.suppress(AssertionError):
            await until(look, timeout_s=60, what="a status")
        assert found["status"] in statuses, found
        return found

    async def cancel(self, job_id: str, asked: RawClient, how: str) -> dict[str, Any]:
        """End a job; returns how it is shown."""
        if how == "DELETE":
            reply = await self.client.delete(f"/v2/tasks/{job_id}")
            assert (reply.status_code, reply.json()["status"]) == (200, "cancelled"), reply.text
        else:
            asked.leave()
        shown = await self.has(job_id, "cancelled")
        asked.leave()
        return shown

    async def serves(self, model: str) -> None:
        """The next job gets the slot, and a whole answer."""
        body = {"model": model, "prompt": "Hello", "max_tokens": 4}
        job_id = (await self.client.post("/v2/tasks", json=body)).json()["job_id"]
        await self.has(job_id, "completed")

    async def stops(self, engine: Engine) -> None:
        """The engine is seen idle within its time.

        The orchestrator watches it, once a second, and nobody else meanwhile: an engine that is
        asked more often may miss that its client has left.
        """

        async def is_seen_idle() -> bool:
            return (await self.metrics())["orchd_slots_awaited"] == 0

        # The look that finds it idle may come a second after it is.
        within_s = STOPS_WITHIN_S + 1.0
        await until(is_seen_idle, timeout_s=within_s, every_s=0.1, what="slots seen idle")
        # One that was stopped before it read the request may only now see that nobody wants it.
        await until(engine.is_idle, timeout_s=STOPS_WITHIN_S, every_s=1.0, what="an idle engine")

    async def ends(self) -> float:
        """How many jobs were cancelled since the start, and that every slot was seen idle."""
        found = await self.metrics()
        assert found["orchd_cancel_unconfirmed_total"] == 0
        return found.get('orchd_jobs_finished_total{status="cancelled"}', 0.0)

    async def metrics(self) -> dict[str, float]:
        """Every value by its name."""
        text = (await self.client.get("/metrics")).text
        lines = (line.rpartition(" ") for line in text.splitlines())
        return {name: float(value) for name, _, value in lines if not name.startswith("#")}


@pytest.fixture
async def site(warm_home: Home) -> AsyncIterator[Site]:
    headers = {"Authorization": f"Bearer {warm_home.key}"}
    async with httpx.AsyncClient(
        base_url=warm_home.url, headers=headers, timeout=30, trust_env=False
    ) as client:
        yield Site(warm_home, client)


async def frozen_at_first_token(
    site: Site, engine: Engine, kind: str
) -> tuple[str, RawClient, int]:
    """Let the worker run for moments only, until the first tokens have come out of it.

    On a busy machine a moment may last too long; then that answer ends and another is asked for.
    Tells too what the engine had decoded before.
    """
    for _ in range(FREEZING_TRIES):
        decoded = await engine.decoded()
        engine.process.suspend()
        job_id, asked = await site.ask(kind)
        reading = asyncio.create_task(asked.rest())
        try:
            tokens = await pulsed(site, engine, kind, job_id, asked)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if tokens < HALF // 2:
            return job_id, asked, decoded
        engine.process.resume()
        await site.has(job_id, "completed")
        asked.leave()
    raise AssertionError(f"the answer was over before it was frozen, {FREEZING_TRIES} times")


async def pulsed(site: Site, engine: Engine, kind: str, job_id: str, asked: RawClient) -> int:
    """Run the worker in pulses up to the first tokens; tells how many have come then."""
    counts: list[int] = []
    # On a busy machine it must not take the turn of the one who stops it.
    engine.process.nice(NICE)
    with Pulser() as pulser:
        for _ in range(PULSES):
            pulser.pulse(engine.process.pid, PULSE_S)
            counts = [await told(site, kind, job_id, asked)]
            if counts[-1]:
                break

    async def is_quiet() -> bool:
        counts.append(await told(site, kind, job_id, asked))
        return len(counts) > QUIET_LOOKS and len(set(counts[-QUIET_LOOKS:])) == 1

    await until(is_quiet, what="a quiet client")
    assert counts[-1], f"no token after {PULSES} pulses"
    return counts[-1]


async def told(site: Site, kind: str, job_id: str, asked: RawClient) -> int:
    """How many tokens have come out."""
    shown = await site.job(job_id)
    if kind == "durable":
        return sum(map(int, TOLD.findall(asked.seen)))
    return int(shown["tokens_out"] or 0)


@pytest.mark.parametrize("kind", KINDS)
async def test_what_nobody_cancels_is_computed_to_its_length(site: Site, kind: str) -> None:
    async with engine_of(site.home, "tiny-chat") as engine:
        decoded = await engine.decoded()
        job_id, asked = await site.ask(kind)
        await site.has(job_id, "completed")
        asked.leave()
        assert await engine.decoded() - decoded >= LENGTH - 1


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("window", ["before the first token", "in the middle of the answer"])
async def test_an_engine_at_work_stops(site: Site, window: str, kind: str, how: str) -> None:
    before = await site.ends()
    async with engine_of(site.home, "tiny-chat") as engine:
        if window == "before the first token":
            decoded = await engine.decoded()
            engine.process.suspend()
            job_id, asked = await site.ask(kind)
            await site.has(job_id, "dispatched", "running")
        else:
            job_id, asked, decoded = await frozen_at_first_token(site, engine, kind)
        shown = await site.cancel(job_id, asked, how)
        engine.process.resume()
        await site.stops(engine)
        assert await engine.decoded() - decoded < HALF
    assert [found["status"] for found in shown["attempts"]] == ["cancelled"]
    await site.serves("tiny-chat")
    assert await site.ends() == before + 1


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_queued_one_never_reaches_the_engine(site: Site, kind: str, how: str) -> None:
    before = await site.ends()
    async with engine_of(site.home, "tiny-chat") as engine:
        engine.process.suspend()
        blocker, watching = await site.ask("durable")
        await site.has(blocker, "dispatched", "running")
        job_id, asked = await site.ask(kind)
        await site.has(job_id, "queued")
        shown = await site.cancel(job_id, asked, how)
        assert shown["attempts"] == []
        await site.cancel(blocker, watching, "DELETE")
        engine.process.resume()
        decoded = await engine.decoded()
        await site.stops(engine)
        assert await engine.decoded() - decoded < HALF
    await site.serves("tiny-chat")
    assert await site.ends() == before + 2


async def stop_workers(site: Site) -> None:
    """The next job finds no worker of this model again."""
    alive = ("starting", "loading", "ready", "busy")

    def left() -> list[str]:
        workers = listed(site.home).values()
        told = [item for item in workers if item["model"] == "tiny-story"]
        return [str(item["id"]) for item in told if item["status"] in alive]

    for worker_id in left():
        site.home.pool("worker", "stop", worker_id).must()
    await until(lambda: not left(), what="the end of the workers")


async def frozen_while_loading(site: Site, kind: str) -> tuple[str, RawClient, psutil.Process]:
    """Ask for a model that no worker holds, and stop its worker before it is ready."""
    running = {process.pid for process in site.home.workers()}

    def fresh() -> psutil.Process | None:
        return next((found for found in site.home.workers() if found.pid not in running), None)

    for _ in range(LOADING_TRIES):
        job_id, asked = await site.ask(kind, "tiny-story")
        process = await until(fresh, what="the fresh worker")
        assert process is not None
        process.suspend()
        if (await site.job(job_id))["status"] == "queued":
            return job_id, asked, process
        # It was ready before it was found: the model is very small.
        process.resume()
        asked.leave()
        await site.client.delete(f"/v2/tasks/{job_id}")
        await stop_workers(site)
    raise AssertionError(f"the worker was ready before it was frozen, {LOADING_TRIES} times")


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("kind", KINDS)
async def test_one_that_waits_for_a_loading_worker_leaves_it_idle(
    site: Site, kind: str, how: str
) -> None:
    job_id, asked, process = await frozen_while_loading(site, kind)
    before = await site.ends()
    try:
        shown = await site.cancel(job_id, asked, how)
        assert shown["attempts"] == []
    finally:
        process.resume()
    await site.serves("tiny-story")
    async with engine_of(site.home, "tiny-story") as engine:
        await site.stops(engine)
        assert await engine.decoded() < HALF
    assert await site.ends() == before + 1
    await stop_workers(site)
