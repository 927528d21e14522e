"""A disk fills up under a running orchestratord: a clear refusal, nothing lost, and on it goes.

The daemon is the real process on a real small disk; somebody else's file takes and gives the space.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from orchestrator_core.units import MIB
from support.disk_drill import DiskDrill
from support.event_streams import chunks_of, payload, said
from support.fake_engine import EngineCall, FakeEngine
from support.small_disk import SmallDisk, small_disk
from support.waiting import until

pytestmark = pytest.mark.e2e

BALLAST = 3 * MIB
LONG = "word " * 8_000


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", 24 * MIB) as disk:
        yield disk


@pytest.fixture
def drill(disk: SmallDisk, tmp_path: Path) -> DiskDrill:
    """A daemon that asks for no reserve: only a write that fails tells it of the full disk."""
    return DiskDrill(
        disk, tmp_path / "log", ballast_bytes=BALLAST, disk_reserve_bytes=0, headers_after_s=0.05
    )


def must_be_refused_for_space(reply: httpx.Response) -> None:
    """The one answer that new work gets on a full disk."""
    assert reply.status_code == 503, reply.text
    error = reply.json()["error"]
    assert error["code"] == "DISK_LOW", error
    assert "free" in error["message"]
    assert "\n" not in error["message"]
    assert 1 <= int(reply.headers["retry-after"]) <= 60


async def test_below_the_reserve_no_job_is_taken_and_all_else_goes_on(
    disk: SmallDisk, tmp_path: Path
) -> None:
    drill = DiskDrill(disk, tmp_path / "log", ballast_bytes=BALLAST, disk_reserve_bytes=8 * MIB)
    async with drill.life():
        accepted = (await drill.submit()).json()["job_id"]
        disk.grow_another_file(leaving_bytes=6 * MIB)
        await drill.short()
        must_be_refused_for_space(await drill.submit())
        refused = await drill.client.post("/v1/chat/completions", json={"model": "tiny-chat"})
        assert refused.status_code in (400, 503)
        assert (await drill.client.get("/livez")).status_code == 200
        assert await drill.listed() == {accepted}
        assert (await drill.client.delete(f"/v2/tasks/{accepted}")).status_code < 300
        disk.delete_other_file()
        await drill.ready()
        assert (await drill.submit()).status_code == 202
    assert len(drill.told("disk.low")) == len(drill.told("disk.enough")) == 1


async def test_a_disk_that_fills_up_during_admissions_loses_no_job(drill: DiskDrill) -> None:
    accepted: set[str] = set()
    refusals: list[httpx.Response] = []

    async def client() -> None:
        while len(refusals) < 40:
            reply = await drill.submit(LONG)
            if reply.status_code == 202:
                accepted.add(reply.json()["job_id"])
            else:
                must_be_refused_for_space(reply)
                refusals.append(reply)

    async with drill.life():
        drill.disk.grow_another_file(leaving_bytes=2 * MIB)
        await asyncio.gather(*[client() for _ in range(16)])
        assert accepted
        # The ballast went before the first refusal.
        assert drill.ballast.stat().st_size < BALLAST
        assert await drill.listed() == accepted
        drill.kill()
    async with drill.life():
        assert await drill.listed() == accepted
        drill.disk.delete_other_file()
        await drill.ready()
        assert (await drill.submit()).status_code == 202
        assert drill.ballast.stat().st_size == BALLAST


async def test_a_disk_that_fills_up_during_a_stream_holds_it_and_breaks_nothing(
    drill: DiskDrill,
) -> None:
    async with FakeEngine.listening() as engine, drill.life():
        await drill.register(engine.port)
        job_id = (await drill.submit()).json()["job_id"]
        call = await engine.next_call()
        await call.open()
        async with drill.events(job_id) as stream:
            await call.say("a")
            await stream.until_kind("token")
            words = await talk_until_full(drill, call)
            await drill.short()
            must_be_refused_for_space(await drill.submit())
            must_be_refused_for_space(await drill.client.post(f"/v2/tasks/{job_id}/cancel"))
            assert (await drill.client.get("/livez")).status_code == 200
            assert await drill.listed() == {job_id}
            await call.end(completion=words + 1)
            free_enough(drill)
            assert (await stream.rest())[-1].event == "end"
        output = (await drill.ended(job_id))["output"]
        assert output == "a" + LONG * words
        async with drill.events(job_id) as replay:
            told = await replay.rest()
        assert replay.raw == stream.raw
        assert "".join(payload(row)["t"] for row in told if row.event == "token") == output
        await drill.ready()
        await until(lambda: drill.ballast.stat().st_size == BALLAST, what="the new ballast")
        assert (await drill.submit()).status_code == 202
        assert drill.stop() == 0


async def test_a_call_that_is_not_stored_ends_well_on_a_full_disk(drill: DiskDrill) -> None:
    async with FakeEngine.listening() as engine, FakeEngine.listening() as other, drill.life():
        await drill.register(engine.port, other.port)
        async with drill.chat() as chat:
            plain = await engine.next_call()
            await plain.open()
            job_id = (await drill.submit()).json()["job_id"]
            stored = await other.next_call()
            await stored.open()
            await talk_until_full(drill, stored)
            await plain.say("plain", " words")
            await plain.end(completion=2)
            *chunks, end = await chunks_of(chat)
            assert (said(chunks), end) == ("plain words", "[DONE]")
        drill.kill()
        drill.disk.delete_other_file()
    async with drill.life():
        # It goes on behind what its readers were shown.
        assert (await drill.client.get(f"/v2/tasks/{job_id}")).json()["status"] == "queued"


async def talk_until_full(drill: DiskDrill, call: EngineCall) -> int:
    """Let an engine talk until nothing can be written any more; returns how often it spoke."""
    filling = asyncio.create_task(drill.fill_for_good())
    words = await talk(drill, call)
    await filling
    return words


async def talk(drill: DiskDrill, call: EngineCall) -> int:
    """Say long words until the daemon tells of a full disk; returns how many."""
    words = 0

    async def is_settled() -> bool:
        return bool(drill.told("disk.full")) or not await drill.writes_waiting()

    while not drill.told("disk.full"):
        assert words < 500
        await call.say(LONG)
        words += 1
        # Each word is written, or it waits and the daemon says why; it answers all the while.
        await until(is_settled, what="a written word or a full disk")
    return words


async def test_a_daemon_starts_on_a_full_disk_and_works_once_there_is_space(
    drill: DiskDrill,
) -> None:
    async with drill.life():
        accepted = {(await drill.submit()).json()["job_id"] for _ in range(3)}
        assert drill.stop() == 0
    drill.fill()
    async with FakeEngine.listening() as engine, drill.life():
        assert (await drill.client.get("/livez")).status_code == 200
        await drill.fill_for_good()
        await drill.short()
        assert await drill.listed() == accepted
        must_be_refused_for_space(await drill.submit())
        drill.disk.delete_other_file()
        await drill.ready()
        await drill.register(engine.port)
        for _ in accepted:
            await (await engine.next_call()).answer("whole")
        for job_id in accepted:
            assert (await drill.ended(job_id))["output"] == "whole"
    assert drill.told("disk.low")


async def test_every_job_that_was_accepted_ends_although_the_disk_was_full_meanwhile(
    drill: DiskDrill,
) -> None:
    accepted: set[str] = set()
    async with contextlib.AsyncExitStack() as stack:
        engines = [await stack.enter_async_context(FakeEngine.listening()) for _ in range(4)]
        await stack.enter_async_context(drill.life())
        await drill.register(*[engine.port for engine in engines])
        first = [(await drill.submit()).json()["job_id"] for _ in engines]
        calls = [await engine.next_call() for engine in engines]
        streams = [await stack.enter_async_context(drill.events(job_id)) for job_id in first]
        async with asyncio.TaskGroup() as tasks:
            clients = [tasks.create_task(keep_submitting(drill, accepted)) for _ in range(16)]
            workers = [
                tasks.create_task(talk_beyond_full_and_serve(drill, engine, call))
                for engine, call in zip(engines, calls, strict=True)
            ]
            await fill_and_free(drill)
            taken = len(accepted)
            await until(lambda: len(accepted) > taken, what="new work")
            for task in clients:
                task.cancel()
            # Who was cut off meanwhile may have been accepted all the same.
            accepted |= await drill.listed()
            for job_id in accepted:
                assert (await drill.ended(job_id))["status"] == "completed", job_id
            for stream in streams:
                assert (await stream.rest())[-1].event == "end"
            for task in workers:
                task.cancel()
        for job_id, stream in zip(first, streams, strict=True):
            async with drill.events(job_id) as replay:
                await replay.rest()
            assert replay.raw == stream.raw
        assert await drill.listed() >= accepted >= set(first)
        assert drill.stop() == 0


async def keep_submitting(drill: DiskDrill, accepted: set[str]) -> None:
    """Hand in one job after the other; each is accepted or clearly refused."""
    while True:
        reply = await drill.submit(LONG)
        if reply.status_code == 202:
            accepted.add(reply.json()["job_id"])
        else:
            must_be_refused_for_space(reply)
            assert (await drill.client.get("/livez")).status_code == 200


async def talk_beyond_full_and_serve(
    drill: DiskDrill, engine: FakeEngine, call: EngineCall
) -> None:
    """Talk until the disk is full and a little more; then answer whatever comes."""
    await call.open()
    words = await talk(drill, call)
    await call.say(*["more"] * 20)
    await call.end(completion=words + 20)
    while True:
        await (await engine.next_call()).answer("short", "answer")


async def fill_and_free(drill: DiskDrill) -> None:
    """Be somebody else who takes all space and gives it back."""
    filling = asyncio.create_task(drill.fill_for_good())
    await until(lambda: drill.told("disk.full"), timeout_s=60, what="the full disk")
    await filling
    await drill.short()
    free_enough(drill)
    await drill.ready()


def free_enough(drill: DiskDrill) -> None:
    """Give room for all that was said meanwhile, which is more on a slow machine."""
    drill.disk.delete_other_file()
    drill.disk.resize(256 * MIB)


async def test_a_daemon_that_is_stopped_on_a_full_disk_ends_and_what_it_took_is_there(
    drill: DiskDrill,
) -> None:
    async with FakeEngine.listening() as engine, drill.life():
        await drill.register(engine.port)
        running = (await drill.submit()).json()["job_id"]
        queued = (await drill.submit()).json()["job_id"]
        call = await engine.next_call()
        await call.open()
        async with drill.events(running) as stream:
            await call.say("a")
            await stream.until_kind("token")
            await talk_until_full(drill, call)
            shown = stream.raw
        # Not everything could be written, so it does not say that all is well.
        assert drill.stop() == 1
        assert "disk under the store is full" in drill.log().splitlines()[-1]
    drill.disk.delete_other_file()
    async with drill.life():
        for job_id in (running, queued):
            assert (await drill.client.get(f"/v2/tasks/{job_id}")).json()["status"] == "queued"
            await drill.client.delete(f"/v2/tasks/{job_id}")
        async with drill.events(running) as replay:
            assert (await replay.rest())[-1].event == "error"
        assert replay.raw.startswith(shown)


async def test_a_log_on_the_full_disk_stops_nothing_and_goes_on_afterwards(
    disk: SmallDisk,
) -> None:
    log = disk.folder / "log"
    drill = DiskDrill(disk, log, ballast_bytes=BALLAST, disk_reserve_bytes=4 * MIB)
    async with drill.life():
        await drill.ready()
        drill.fill()
        await drill.short()
        # Each tells the log a line for which there is no room.
        for _ in range(50):
            reply = await drill.client.get("/v2/tasks", headers={"authorization": "Bearer wrong"})
            assert reply.status_code in (401, 429)
        disk.delete_other_file()
        await drill.ready()
        accepted = (await drill.submit()).json()["job_id"]
        assert drill.stop() == 0
    # The line during which the disk got full is torn; whatever came next stands behind its half.
    whole = [line for line in log.read_text().splitlines() if line.count('"event"') == 1]
    lines = [json.loads(line) for line in whole if line.startswith("{") and line.endswith("}")]
    assert accepted in {line.get("job_id") for line in lines}
    assert lines[-1]["event"] == "orchestrator.stopped"
