"""Small calls that wait for the whole answer."""

import asyncio

import pytest

from orchestratord.upstream.exchange import Fault, FaultKind
from orchestratord.upstream.plain import Reply, call
from support.scripted_peer import ScriptedWorker

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]"


async def called(
    worker: ScriptedWorker, *pieces: bytes, limit_bytes: int = 1000
) -> tuple[Reply | Fault, bytes]:
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(worker.answer(*pieces))
        outcome = await call(
            worker.address,
            "POST",
            "/tokenize",
            bearer="key",
            body=b"{}",
            timeout_s=30,
            limit_bytes=limit_bytes,
            correlation_id="c-1",
        )
    return outcome, serving.result()


async def test_returns_the_whole_answer(worker: ScriptedWorker) -> None:
    reply, request = await called(worker, ANSWER[:50], ANSWER[50:])
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (200, b"[]")
    assert reply.headers[b"content-type"] == b"application/json"
    head, _, body = request.partition(b"\r\n\r\n")
    assert body == b"{}"
    assert head.startswith(b"POST /tokenize HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Authorization: Bearer key" in head
    assert b"X-Correlation-Id: c-1" in head


async def test_returns_an_error_status_as_a_reply(worker: ScriptedWorker) -> None:
    reply, _ = await called(worker, b"HTTP/1.1 503 Busy\r\n\r\nloading")
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (503, b"loading")


@pytest.mark.parametrize(
    ("piece", "kind"),
    [
        (b"", FaultKind.EOF),
        (ANSWER[:-1], FaultKind.EOF),
        (b"ANSWER", FaultKind.PROTOCOL),
    ],
)
async def test_returns_a_fault(worker: ScriptedWorker, piece: bytes, kind: FaultKind) -> None:
    fault, _ = await called(worker, piece)
    assert isinstance(fault, Fault)
    assert fault.kind is kind


async def test_gives_up_on_an_answer_over_the_limit(worker: ScriptedWorker) -> None:
    fault, _ = await called(worker, b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 300, limit_bytes=200)
    assert fault == Fault(FaultKind.PROTOCOL, "the worker's answer is over 200 bytes", begun=True)


async def test_takes_an_answer_of_exactly_the_limit(worker: ScriptedWorker) -> None:
    reply, _ = await called(worker, ANSWER, limit_bytes=2)
    assert isinstance(reply, Reply)


async def test_the_deadline_covers_a_worker_that_never_answers(worker: ScriptedWorker) -> None:
    fault = await call(
        worker.address, "GET", "/health", bearer=None, body=b"", timeout_s=0.05, limit_bytes=10
    )
    assert fault == Fault(FaultKind.TIMEOUT, "no whole answer from the worker within 0.05 s")
    await (await worker.accept()).wait_closed()


async def test_cancelling_a_call_closes_its_connection(worker: ScriptedWorker) -> None:
    calling = asyncio.get_running_loop().create_task(
        call(worker.address, "GET", "/slow", bearer=None, body=b"", timeout_s=30, limit_bytes=10)
    )
    peer = await worker.accept()
    await peer.read_request()
    calling.cancel()
    await peer.wait_closed()
    assert (await asyncio.gather(calling, return_exceptions=True))[0].__class__ is not Reply


async def test_a_refused_connection_is_a_fault(worker: ScriptedWorker) -> None:
    address = worker.address
    worker.close()
    fault = await call(
        address, "GET", "/health", bearer=None, body=b"", timeout_s=30, limit_bytes=10
    )
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.CONNECT
