"""Readers of event streams: they come late, come back, leave, or do not read."""

import asyncio
import socket
from pathlib import Path

import pytest

from orchestrator_core.ids import JobId, KeyId
from orchestrator_core.testing.clocks import FakeClock
from orchestratord.store.memory import MemoryStore
from orchestratord.store.rows import EventRow, JobRow
from support.fake_engine import FakeEngine, text
from support.orchestrator import (
    Orchestrator,
    ready_worker,
    running_orchestrator,
)
from support.waiting import until


async def test_events_have_ids_without_holes_and_a_replay_equals_the_live_bytes(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    async with site.events(job_id) as live, site.events(job_id) as second:
        call = await engine.next_call()
        await call.open()
        for word in ("one", " two", ' "three"', "\n\nfour", " fünf", " data: six"):
            await call.say(word)
            await live.until_kind("token")
        await call.end()
        await asyncio.gather(live.rest(), second.rest())
    late = await site.replay(job_id)
    assert live.raw == second.raw == late
    ids = [line for line in late.split(b"\n") if line.startswith(b"id: ")]
    assert ids == [b"id: %d" % (number + 1) for number in range(len(ids))]
    assert late.count(b"event: token") == 6


async def test_a_reader_comes_back_with_its_last_id_or_after(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    await call.open()
    await call.say("a")
    async with site.events(job_id, last_event_id="2") as live:
        assert (await live.next()).id == "3"
        await call.end()
        await live.rest()
    whole = await site.replay(job_id)
    frames = [part + b"\n\n" for part in whole.split(b"\n\n")[:-1]]
    for after in range(len(frames) + 1):
        async with site.events(job_id, after=after) as stream:
            await stream.rest()
            assert stream.raw == b"".join(frames[after:])
    # The header of a reconnect wins over the query of the address.
    async with site.events(job_id, after=1, last_event_id="3") as stream:
        assert (await stream.next()).id == "4"


@pytest.mark.parametrize("after", ["-1", "x", "1.5", "9" * 19, "0x1"])
async def test_a_last_id_that_is_no_number_is_refused(site: Orchestrator, after: str) -> None:
    job_id = await site.submit()
    path = f"/v2/tasks/{job_id}/events"
    reply = await site.client.get(path, headers={"last-event-id": after})
    assert reply.status_code == 400
    assert reply.json()["error"]["code"] == "INVALID_REQUEST"
    await site.client.delete(f"/v2/tasks/{job_id}")


async def test_a_reader_that_leaves_cancels_only_a_job_that_asked_for_it(
    site: Orchestrator, engine: FakeEngine
) -> None:
    clinging = await site.submit("a", cancel_on_disconnect=True)
    call = await engine.next_call()
    await call.open()
    await call.say("x")
    async with site.events(clinging) as stream:
        await stream.until_kind("token")
    await call.gone()
    assert (await site.ended(clinging))["status"] == "cancelled"
    free = await site.submit("b")
    call = await engine.next_call()
    await call.open()
    await call.say("x")
    async with site.events(free) as stream:
        await stream.until_kind("token")
    await until(lambda: len(site.parts.readers) == 0, what="the reader's end")
    await call.end()
    assert (await site.ended(free))["status"] == "completed"


async def test_a_silent_reader_is_kept_alive_by_comments(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    async with site.events(job_id) as stream:
        assert await stream.frame() == await _first_frame(site, job_id)
        site.sweep(14)
        site.sweep(2)
        assert await stream.frame() == b": keep-alive\n\n"
        await site.beat(ready_worker(engine.port))
        call = await engine.next_call()
        await call.answer("x")
        kinds = [found.event for found in await stream.rest()]
        assert kinds == ["started", "token", "end"]


async def _first_frame(site: Orchestrator, job_id: str) -> bytes:
    async with site.events(job_id) as stream:
        return await stream.frame()


async def test_a_reader_that_does_not_read_is_dropped_and_its_job_goes_on(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    await call.open()
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", int(site.url.rpartition(":")[2])))
        head = f"GET /v2/tasks/{job_id}/events HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Authorization: Bearer {site.key}\r\n\r\n"
        await loop.sock_sendall(client, head.encode())
        await until(lambda: len(site.parts.readers), what="the reader")

        async def stuck() -> bool:
            await call.send(text("x" * 40_000))
            return all(reader.sending for reader in site.parts.readers._readers)

        await until(stuck, what="a reader that is stuck")
        site.sweep(29)
        assert len(site.parts.readers) == 1
        # However often the sweeper looks while the handler is on its way out, it harms nobody.
        site.clock.advance(2)

        async def gone() -> bool:
            site.sweep()
            return len(site.parts.readers) == 0

        for _ in range(8):
            await asyncio.sleep(0)
            site.sweep()
        await until(gone, what="the reader's end")
    await call.end()
    assert (await site.ended(job_id))["status"] == "completed"


async def test_a_reader_that_comes_behind_the_window_reads_the_store_and_then_live(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    await call.open()
    words = [f"{number:06d}" + "x" * 40_000 for number in range(40)]
    async with site.events(job_id) as live:
        for word in words:
            await call.say(word)
            await live.until_kind("token")
        async with site.events(job_id) as late:
            seen = 0
            while seen < len(words):
                seen += int((await late.next()).event == "token")
            await call.say("the last")
            await call.end()
            await asyncio.gather(live.rest(), late.rest())
    assert live.raw == late.raw == await site.replay(job_id)
    shown = await site.ended(job_id)
    assert shown["output"] == "".join(words) + "the last"


class _CountingStore(MemoryStore):
    """Counts what readers of events ask the disk for."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def job(self, job_id: JobId, key_id: KeyId | None = None) -> JobRow | None:
        self.reads += 1
        return await super().job(job_id, key_id)

    async def events_after(self, job_id: JobId, seq: int, limit: int) -> list[EventRow]:
        self.reads += 1
        return await super().events_after(job_id, seq, limit)


async def test_who_follows_a_job_at_once_or_just_after_its_end_costs_no_read(
    tmp_path: Path, engine: FakeEngine
) -> None:
    store, clock = _CountingStore(), FakeClock()
    async with running_orchestrator(tmp_path, store=store, clock=clock) as site:
        await site.register(ready_worker(engine.port))
        job_id = await site.submit()
        async with site.events(job_id) as live:
            call = await engine.next_call()
            await call.open()
            await call.say("a")
            await call.end()
            await live.rest()
        await until(lambda: site.parts.jobs.get(job_id) is None, what="the job to leave")
        assert await site.replay(job_id) == live.raw
        assert store.reads == 0
        site.sweep(60)
        assert await site.replay(job_id) == live.raw
        assert store.reads == 2


async def test_a_job_that_ended_just_now_is_still_shown_to_its_owner_alone(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    await call.open()
    await call.end()
    await until(lambda: site.parts.jobs.get(job_id) is None, what="the job to leave")
    stranger = await site.make_key("user")
    response = await site.client.get(
        f"/v2/tasks/{job_id}/events", headers={"authorization": f"Bearer {stranger}"}
    )
    assert response.status_code == 404
