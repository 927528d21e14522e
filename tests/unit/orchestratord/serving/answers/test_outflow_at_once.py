"""While a client keeps up, what is pushed goes straight to it; order and patience stay the same."""

import asyncio

import pytest

from orchestrator_core.errors import Code, Refusal
from orchestratord.serving.answers.outflow import FlowBudget, OutFlow


class Client:
    """Takes pieces; while its gate is shut it takes one and then nothing."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()

    async def send(self, data: bytes) -> None:
        self.got.append(data)
        await self.open.wait()


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def out(client: Client) -> OutFlow:
    flow = OutFlow(FlowBudget(), 0.0, 10)
    flow.head_sent = True
    flow.send_by(client.send)
    return flow


async def handler(out: OutFlow, client: Client) -> None:
    data = b"-"
    while data:
        await out.wait()
        data = out.take(0.0)
        if data:
            await client.send(data)
        out.sent(0.0)


async def test_a_push_reaches_a_client_that_keeps_up_before_it_returns(
    out: OutFlow, client: Client
) -> None:
    out.push(b"a", 1.0)
    out.push(b"b", 2.0)
    assert client.got == [b"a", b"b"]
    assert (out.waiting_bytes, out.touched_at, out.stuck_s(100.0)) == (0, 2.0, 0.0)


async def test_what_comes_while_the_client_is_busy_waits_in_order(
    out: OutFlow, client: Client
) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(handler(out, client))
        await asyncio.sleep(0)
        client.open.clear()
        out.push(b"a", 1.0)
        out.push(b"b", 2.0)
        out.push(b"c", 3.0)
        assert client.got == [b"a"]
        assert out.waiting_bytes == 2
        assert out.stuck_s(31.0) == 30.0
        client.open.set()
        out.end()
    assert client.got == [b"a", b"bc"]
    assert out.stuck_s(1000.0) == 0.0


async def test_a_piece_too_large_for_patience_goes_through_the_handler(
    out: OutFlow, client: Client
) -> None:
    out.push(b"x" * 70_000, 1.0)
    assert client.got == []
    assert out.waiting_bytes == 70_000


async def test_the_last_bytes_wait_for_the_end_that_goes_with_them(
    out: OutFlow, client: Client
) -> None:
    out.finish(b"last", 1.0)
    out.push(b"late", 2.0)
    assert client.got == []
    assert (out.ended, out.take(3.0)) == (True, b"last")


async def test_a_client_that_left_is_sent_nothing_more(out: OutFlow, client: Client) -> None:
    out.discard()
    out.push(b"late", 1.0)
    out.refuse(Refusal(Code.WORKER_LOST, "it died"), b"frame", 1.0)
    assert client.got == []


async def test_a_failing_send_fails_the_handler_and_not_the_pusher() -> None:
    async def broken(_: bytes) -> None:
        raise OSError("no client")

    out = OutFlow(FlowBudget(), 0.0)
    out.send_by(broken)
    out.push(b"a", 1.0)
    with pytest.raises(OSError, match="no client"):
        await out.wait()
