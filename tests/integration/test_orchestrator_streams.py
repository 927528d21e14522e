"""What holds for every open stream: gaps, ends, keep-alives, keys, bounds, headers."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from orchestrator_core.ids import KeyId
from orchestratord.serving.answers import event_readers
from orchestratord.store.memory import MemoryStore
from orchestratord.store.writes import Strip
from support.event_streams import payload
from support.fake_engine import FakeEngine
from support.orchestrator import (
    Orchestrator,
    chat_body,
    nobody_waits,
    ready_worker,
    running_orchestrator,
)
from support.raw_clients import RawClient
from support.waiting import until

CHAT = "/v1/chat/completions"


def events_path(job_id: str) -> str:
    return f"/v2/tasks/{job_id}/events"


async def ended_job(site: Orchestrator, engine: FakeEngine, *words: str) -> str:
    job_id = await site.submit()
    await (await engine.next_call()).answer(*words)
    await site.ended(job_id)
    return job_id


async def strip(site: Orchestrator) -> None:
    # What has just ended is shown from memory for a moment, whatever the store has deleted since.
    site.sweep(11)
    assert await site.store.submit(Strip(before_ms=site.clock.unix_ms() + 1, limit=100)) >= 1


# What was deleted, and what lies beyond the end


async def test_events_that_were_deleted_are_told_as_a_gap_before_the_end(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await ended_job(site, engine, "one", " two", " three")
    whole = await site.replay(job_id)
    last = int(whole.rpartition(b"id: ")[2].split(b"\n")[0])
    terminal = whole[whole.rindex(b"id: ") :]
    await strip(site)
    for after in range(last):
        async with site.events(job_id, after=after) as stream:
            first = await stream.frame()
            rest = await stream.rest()
        if after == last - 1:
            assert first == terminal
        else:
            gap = b'event: gap\ndata: {"from":%d,"to":%d}\n\n' % (after + 1, last - 1)
            assert first == gap
            assert [found.event for found in rest] == ["end"]
            assert stream.raw == gap + terminal
    assert await site.metric("orchd_sse_gap_total") == last - 1


async def test_who_has_the_end_already_gets_an_empty_stream_that_ends(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await ended_job(site, engine, "x")
    last = (await site.replay(job_id)).count(b"id: ")
    for after in (last, last + 1, 10**17):
        client = await RawClient.ask(
            site.url, site.key, "GET", f"{events_path(job_id)}?after={after}"
        )
        answer = await client.rest()
        assert answer.endswith(b"\r\n\r\n0\r\n\r\n"), answer
        client.leave()


async def test_a_live_job_sends_nothing_twice_to_who_claims_to_be_ahead(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    async with site.events(job_id, after=4) as ahead:
        await call.open()
        await call.say("a")
        async with site.events(job_id) as live:
            await live.until_kind("token")
            await call.say("b", "c")
            await call.end()
            await live.rest()
        told = await ahead.rest()
    assert [found.id for found in told] == [
        str(number) for number in range(5, live.raw.count(b"id: ") + 1)
    ]


async def test_readers_that_all_come_back_at_once_get_the_same_bytes(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    await call.open()
    for word in range(200):
        await call.say(f"{word} ")
    first = [await RawClient.ask(site.url, site.key, "GET", events_path(job_id)) for _ in range(60)]
    await asyncio.gather(*(client.until(b"event: token") for client in first))
    for client in first:
        client.leave()
    again = [await RawClient.ask(site.url, site.key, "GET", events_path(job_id)) for _ in range(60)]
    await call.end()
    seen = await asyncio.gather(*(client.rest() for client in again))
    whole = await site.replay(job_id)
    assert {_events(answer) for answer in seen} == {whole}
    for client in again:
        client.leave()
    await until(lambda: len(site.parts.readers) == 0, what="no readers")
    assert not site.parts.readers._by_key


def _events(answer: bytes) -> bytes:
    """The body of a chunked answer."""
    left, body = answer.partition(b"\r\n\r\n")[2], b""
    while left:
        size, _, left = left.partition(b"\r\n")
        body += left[: int(size, 16)]
        left = left[int(size, 16) + 2 :]
    return body


# Signs of life


async def test_a_queued_stream_is_kept_alive_from_its_first_moment(tmp_path: Path) -> None:
    async with running_orchestrator(tmp_path, keepalive_s=2) as site:
        job_id = await site.submit()
        async with site.events(job_id) as stream:
            assert b"event: queued" in await stream.frame()
            for _ in range(3):
                site.sweep(1)
                site.sweep(1)
                assert await stream.frame() == b": keep-alive\n\n"


# Keys that end


async def revoke(site: Orchestrator, token: str) -> None:
    holder = site.keys.find(token)
    assert holder is not None
    site.keys.revoke(KeyId(holder.key_id), site.clock.unix_ms())
    site.sweep(1)


async def test_an_event_stream_ends_with_its_key_and_its_job_goes_on(
    site: Orchestrator, engine: FakeEngine
) -> None:
    token = await site.make_key("user")
    headers = {"authorization": f"Bearer {token}"}
    body = {"model": "tiny-chat", "prompt": "x"}
    job_id = (await site.client.post("/v2/tasks", json=body, headers=headers)).json()["job_id"]
    call = await engine.next_call()
    await call.open()
    client = await RawClient.ask(site.url, token, "GET", events_path(job_id))
    await client.until(b"event: started")
    async with site.events(job_id) as other:
        await revoke(site, token)
        assert (await client.rest()).endswith(b": key revoked\n\n\r\n0\r\n\r\n")
        client.leave()
        await call.say("x")
        await call.end()
        assert (await other.rest())[-1].event == "end"


async def test_a_key_that_expires_ends_its_streams_too(
    site: Orchestrator, engine: FakeEngine
) -> None:
    token = await site.make_key("user", "admin", expires_at_ms=site.clock.unix_ms() + 5_000)
    job_id = await site.submit()
    client = await RawClient.ask(site.url, token, "GET", events_path(job_id))
    await client.until(b"event: queued")
    site.sweep(4)
    assert len(site.parts.readers) == 1
    site.sweep(2)
    assert b": key revoked" in await client.rest()
    client.leave()
    await (await engine.next_call()).answer("x")
    await site.ended(job_id)


async def test_a_chat_stream_of_a_revoked_key_ends_in_band_and_lets_its_worker_go(
    site: Orchestrator, engine: FakeEngine
) -> None:
    token = await site.make_key("user")
    client = await RawClient.ask(site.url, token, "POST", CHAT, chat_body(stream=True))
    call = await engine.next_call()
    await call.open()
    await call.say("some")
    await client.until(b"some")
    await revoke(site, token)
    answer = await client.rest()
    error = json.loads(answer[answer.rindex(b"data: {") + 6 :].split(b"\n")[0])
    assert "revoked" in error["error"]["message"]
    assert b"[DONE]" not in answer
    await call.gone()
    client.leave()
    await until(lambda: nobody_waits(site), what="the end of the call")
    (view,) = (await site.client.get("/v2/tasks")).json()["items"]
    assert view["status"] == "cancelled"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_call_without_a_head_of_a_revoked_key_is_told_401(
    tmp_path: Path, engine: FakeEngine, stream: bool
) -> None:
    async with running_orchestrator(tmp_path, headers_after_s=30) as site:
        await site.register(ready_worker(engine.port))
        token = await site.make_key("user")
        client = await RawClient.ask(site.url, token, "POST", CHAT, chat_body(stream=stream))
        call = await engine.next_call()
        await revoke(site, token)
        await client.rest()
        assert client.status == 401
        await call.gone()
        client.leave()
        await until(lambda: nobody_waits(site), what="the end of the call")


async def test_a_reader_that_reads_nothing_is_not_told_that_its_key_has_ended(
    tmp_path: Path, engine: FakeEngine
) -> None:
    async with running_orchestrator(tmp_path) as site:
        await site.register(ready_worker(engine.port))
        token = await site.make_key("admin")
        job_id = await site.submit()
        call = await engine.next_call()
        await call.open()
        client = await RawClient.ask(site.url, token, "GET", events_path(job_id), window_bytes=4096)
        await until(lambda: len(site.parts.readers), what="the reader")
        (reader,) = site.parts.readers._readers
        while not reader.sending:
            await call.say("x" * 40_000)
            await asyncio.sleep(0)
        await revoke(site, token)
        await until(lambda: len(site.parts.readers) == 0, what="the reader's end")
        client.leave()
        await call.end()
        await site.ended(job_id)


# Bounds


async def test_no_key_may_open_streams_without_end(
    site: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_readers, "_KEY_LIMIT", 2)
    monkeypatch.setattr(event_readers, "_LIMIT", 3)
    job_id = await site.submit()
    tokens = [await site.make_key("admin") for _ in range(2)]
    clients: list[RawClient] = []
    for token in (tokens[0], tokens[0], tokens[1]):
        clients.append(await RawClient.ask(site.url, token, "GET", events_path(job_id)))
        await clients[-1].until(b"event: queued")
    for token, code in ((tokens[0], "QUOTA"), (tokens[1], "RATE")):
        headers = {"authorization": f"Bearer {token}"}
        reply = await site.client.get(events_path(job_id), headers=headers)
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, code)
        assert 1 <= int(reply.headers["retry-after"]) <= 60
    clients[0].leave()
    await until(lambda: len(site.parts.readers) == 2, what="a free place")
    clients.append(await RawClient.ask(site.url, tokens[0], "GET", events_path(job_id)))
    await clients[-1].until(b"event: queued")
    for client in clients:
        client.leave()
    await site.client.delete(f"/v2/tasks/{job_id}")
    await until(lambda: len(site.parts.readers) == 0, what="no readers")


# On the wire


async def test_streams_tell_every_hop_to_pass_them_on_as_they_come(
    site: Orchestrator, engine: FakeEngine
) -> None:
    job_id = await site.submit()
    call = await engine.next_call()
    asked = {"accept-encoding": "gzip, deflate, br, zstd"}
    async with site.client.stream("GET", events_path(job_id), headers=asked) as events:
        async with site.client.stream(
            "POST", CHAT, json=chat_body(stream=True), headers=asked
        ) as chat:
            for response in (events, chat):
                assert response.status_code == 200
                assert response.headers["content-type"].startswith("text/event-stream")
                assert response.headers["cache-control"] == "no-store"
                assert response.headers["x-accel-buffering"] == "no"
                assert "content-encoding" not in response.headers
            connections = list(site.server.server_state.connections)
            for connection in connections:
                ours = connection.transport.get_extra_info("socket")
                assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert len(connections) == 2
        await call.answer("x")


async def test_a_job_that_was_purged_while_it_was_read_ends_the_stream(tmp_path: Path) -> None:
    store = MemoryStore()
    async with running_orchestrator(tmp_path, store=store) as site:
        job_id = await site.submit()
        await site.client.delete(f"/v2/tasks/{job_id}")
        async with site.events(job_id, after=1) as stream:
            assert [payload(found)["code"] for found in await stream.rest()] == ["CANCELLED"]
