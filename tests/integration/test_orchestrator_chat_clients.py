"""Clients of a chat that wait, leave, or do not read what they asked for."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from orchestratord.serving.answers.outflow import OutFlow
from support.event_streams import chunks_of, said
from support.fake_engine import FakeEngine, finish, progress, text
from support.orchestrator import (
    Orchestrator,
    chat_body,
    nobody_waits,
    ready_worker,
    running_orchestrator,
)
from support.waiting import until


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("phase", ["queued", "sent", "head", "prefill", "mid-stream"])
async def test_a_client_that_leaves_ends_its_call_in_every_phase(
    site: Orchestrator, engine: FakeEngine, phase: str, stream: bool
) -> None:
    blocker = await site.submit("blocker") if phase == "queued" else None
    blocking = await engine.next_call() if blocker else None
    _, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
    body = json.dumps(chat_body(stream=stream)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {site.key}"
    )
    writer.write(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
    call = None
    if blocking is None:
        call = await engine.next_call()
        if phase != "sent":
            await call.open()
        if phase in ("prefill", "mid-stream"):
            await call.send(progress())
        if phase == "mid-stream":
            await call.say("x")
    else:
        await until(lambda: len(site.parts.open_calls) == 1, what="the waiting call")
    writer.transport.abort()
    if call is not None:
        await call.gone()
    if blocking is not None:
        await until(lambda: len(site.parts.open_calls) == 0, what="the end of the waiting call")
        await blocking.answer("x")
    await until(lambda: nobody_waits(site), what="an empty orchestrator")
    listed = (await site.client.get("/v2/tasks", params={"status": "cancelled"})).json()["items"]
    assert len(listed) == 1
    # The slot is free again.
    asked = asyncio.create_task(site.ask())
    await (await engine.next_call()).answer("fine")
    assert (await asked).status_code == 200


async def test_a_client_that_leaves_before_its_body_is_whole_leaves_nothing(
    site: Orchestrator, engine: FakeEngine
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {site.key}"
    )
    writer.write(f"{head}\r\nContent-Length: 100\r\n\r\n{{".encode())
    await until(lambda: site.server.server_state.tasks, what="the request")
    writer.transport.abort()
    await until(lambda: not site.server.server_state.tasks, what="the request's end")
    assert await nobody_waits(site)
    assert engine.calls == []


async def test_a_waiting_stream_gets_its_head_then_comments_then_data(
    tmp_path: Path, engine: FakeEngine
) -> None:
    async with running_orchestrator(tmp_path) as site, site.chat() as stream:
        assert stream.response.status_code == 200
        site.sweep(14)
        site.sweep(2)
        assert await stream.frame() == b": waiting\n\n"
        site.sweep(15)
        assert await stream.frame() == b": waiting\n\n"
        site.sweep(15)
        empty = json.loads((await stream.frame())[6:])
        assert empty["choices"] == []
        assert (empty["object"], empty["model"]) == ("chat.completion.chunk", "tiny-chat")
        site.sweep(16)
        assert await stream.frame() == b": waiting\n\n"
        site.sweep(15)
        assert json.loads((await stream.frame())[6:])["choices"] == []
        await site.register(ready_worker(engine.port))
        await (await engine.next_call()).answer("at last")
        chunks = await chunks_of(stream)
        assert chunks.pop() == "[DONE]"
        assert said(chunks) == "at last"
        assert {chunk["id"] for chunk in chunks} == {empty["id"]}


async def test_a_waiting_client_outlives_a_keep_alive_rarer_than_our_patience(
    tmp_path: Path, engine: FakeEngine
) -> None:
    async with (
        running_orchestrator(tmp_path, keepalive_s=60, slow_reader_s=30) as site,
        site.chat() as stream,
    ):
        for _ in range(3):
            site.sweep(61)
            assert (await stream.frame()).startswith((b": waiting", b"data: "))
        await site.register(ready_worker(engine.port))
        await (await engine.next_call()).answer("x")
        assert (await chunks_of(stream))[-1] == "[DONE]"


async def test_a_slow_first_token_is_not_the_clients_fault(
    site: Orchestrator, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with site.chat() as stream:
        call = await engine.next_call()
        await call.open()
        await call.send(progress())
        site.clock.advance(50)
        (live,) = site.parts.jobs
        pushed = asyncio.Event()
        push = live.flow.push

        def push_and_sweep(*args: Any) -> None:
            push(*args)
            # The sweeper looks in the very moment between the engine's bytes and the client's turn.
            site.sweep()
            pushed.set()

        monkeypatch.setattr(OutFlow, "push", lambda _, *args: push_and_sweep(*args))
        await call.say("x")
        await pushed.wait()
        monkeypatch.undo()
        await call.end()
        assert (await chunks_of(stream))[-1] == "[DONE]"


async def test_a_call_in_one_piece_does_not_wait_for_ever_for_a_model(tmp_path: Path) -> None:
    async with running_orchestrator(tmp_path, load_wait_s=120) as site:
        asked = asyncio.create_task(site.ask())
        await until(lambda: len(site.parts.open_calls), what="the call")
        site.sweep(119)
        site.sweep(2)
        reply = await asked
        assert reply.status_code == 503
        assert 1 <= int(reply.headers["retry-after"]) <= 60
        assert reply.json()["error"]["code"] == "loading"
        assert await nobody_waits(site)
        assert "x-should-retry" not in reply.headers


async def test_a_long_answer_that_breaks_waits_anew_for_a_worker(
    site: Orchestrator, engine: FakeEngine
) -> None:
    asked = asyncio.create_task(site.ask("Hello", stop=["."]))
    call = await engine.next_call()
    await call.open()
    await call.say("half")
    site.clock.advance(200)
    await site.beat(ready_worker(engine.port))
    call.reset()
    await until(lambda: len(site.parts.pumps) == 0, what="the broken attempt")
    site.sweep(1)
    await site.beat(ready_worker(engine.port))
    await (await engine.next_call()).answer("whole")
    reply = await asked
    assert reply.status_code == 200
    assert reply.json()["choices"][0]["message"]["content"] == "whole"


async def test_a_client_that_does_not_read_holds_the_engine_back_and_is_dropped(
    site: Orchestrator, engine: FakeEngine
) -> None:
    client = await stubborn_client(site)
    call = await engine.next_call()
    await call.open()
    burst = text("x" * 1000) * 64
    while not await held_back(site):
        await call.send(burst)
        await asyncio.sleep(0)
    # The slot is not ours to keep for one who does not read: the engine waits meanwhile.
    assert (await site.metric("orchd_calls_open")) == 1
    site.sweep(29)
    assert len(site.parts.open_calls) == 1
    site.sweep(2)
    await call.gone()
    await until(lambda: nobody_waits(site), what="the dropped client")
    assert site.parts.app._hot["openai.chat"]._gate.budget.used_bytes == 0
    client.close()


async def test_a_client_that_reads_again_opens_the_valve(
    site: Orchestrator, engine: FakeEngine
) -> None:
    client = await stubborn_client(site)
    call = await engine.next_call()
    await call.open()
    burst, sent = text("x" * 1000) * 64, 0
    while not await held_back(site):
        await call.send(burst)
        sent += len(burst)
        await asyncio.sleep(0)
    await call.end()
    loop = asyncio.get_running_loop()
    received = b""
    async with asyncio.timeout(30):
        while b"data: [DONE]" not in received[-100:]:
            received += await loop.sock_recv(client, 1 << 20)
    assert received.count(b'"content"') >= sent // len(burst) * 64
    client.close()


async def test_a_client_that_does_not_read_the_end_is_dropped_too(
    site: Orchestrator, engine: FakeEngine
) -> None:
    client = await stubborn_client(site)
    call = await engine.next_call()
    await call.open()
    # It is handed over in one piece, so that nothing is left here to wait for the client.
    await call.send(text("x" * 200_000), finish())
    await call.raw(b"0\r\n\r\n")
    await until(lambda: not len(site.parts.jobs), what="the end of the job")
    assert len(site.parts.open_calls) == 1
    site.sweep(31)
    await until(lambda: nobody_waits(site), what="the dropped client")
    client.close()


async def stubborn_client(site: Orchestrator) -> socket.socket:
    """Ask for a stream and never read it."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, ("127.0.0.1", int(site.url.rpartition(":")[2])))
    body = json.dumps(chat_body(stream=True)).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {site.key}"
    )
    await loop.sock_sendall(
        client, f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    return client


async def held_back(site: Orchestrator) -> bool:
    pumps = list(site.parts.pumps._pumps.values())
    return any(pump._exchange is not None and pump._exchange.paused for pump in pumps)
