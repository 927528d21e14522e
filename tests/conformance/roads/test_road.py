"""What every road to a worker must do alike: connect, carry bytes, tell an end, end at once."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Protocol, cast

import pytest

from orchestratord.upstream.exchange import Exchange, Fault, FaultKind, open_exchange
from orchestratord.upstream.plain import Reply, call
from orchestratord.upstream.request import Address
from orchestratord.upstream.road import Road, RoadDownError
from support.scripted_peer import Peer, Recorder, ScriptedWorker
from support.waiting import until

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BIG = bytes(range(256)) * 4096 * 12


class Lab(Protocol):
    """What conftest makes for each road."""

    name: str
    road: Road
    worker: ScriptedWorker
    address: Address
    hang: Callable[[], None]
    break_down: Callable[[], None] | None


class Near(asyncio.Protocol):
    """Our end of a connection: remembers everything in its order."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.body = bytearray()
        self.lost: list[Exception | None] = []
        self.paused = 0

    @property
    def wire(self) -> asyncio.Transport:
        return self._wire

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = cast("asyncio.Transport", transport)
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        assert type(data) is bytes
        assert data
        if self.calls[-1] != "data":
            self.calls.append("data")
        self.body += data

    def eof_received(self) -> bool | None:
        self.calls.append("eof")
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.lost.append(exc)

    def pause_writing(self) -> None:
        self.paused += 1

    def resume_writing(self) -> None:
        self.paused -= 1

    async def over(self) -> None:
        await until(lambda: self.lost, what="the end of the connection")


async def connected(lab: Lab) -> tuple[Near, Peer]:
    """Both ends of a connection."""
    near = Near()
    accepting = asyncio.ensure_future(lab.worker.accept())
    async with asyncio.timeout(10):
        await lab.road.connect(lambda: near, lab.address)
        peer = await accepting
    assert near.calls == ["made"]
    return near, peer


async def test_bytes_go_both_ways(lab: Lab) -> None:
    near, peer = await connected(lab)
    near.wire.write(REQUEST)
    assert await peer.read_request() == REQUEST
    await peer.send(b"an answer")
    await until(lambda: near.body == b"an answer")
    near.wire.abort()


async def test_many_pieces_arrive_in_their_order(lab: Lab) -> None:
    near, peer = await connected(lab)
    sent = b"".join(b"%d;" % number for number in range(3000))
    for start in range(0, len(sent), 7):
        await peer.send(sent[start : start + 7])
    await until(lambda: len(near.body) == len(sent))
    assert near.body == sent
    near.wire.abort()


async def test_a_reader_that_pauses_holds_the_worker_back_and_loses_nothing(lab: Lab) -> None:
    near, peer = await connected(lab)
    near.wire.pause_reading()
    sending = asyncio.ensure_future(peer.send(BIG))
    await until(peer.is_held_back, what="a worker that is held back")
    while True:
        seen = len(near.body)
        await asyncio.sleep(0)
        if len(near.body) == seen and peer.is_held_back():
            break
    assert len(near.body) < len(BIG) // 2
    near.wire.resume_reading()
    await sending
    await until(lambda: len(near.body) == len(BIG), what="all that was sent")
    assert near.body == BIG
    near.wire.abort()


async def test_a_worker_that_does_not_read_pauses_the_writer(lab: Lab) -> None:
    near, peer = await connected(lab)
    near.wire.write(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(BIG))
    for start in range(0, len(BIG), 65536):
        near.wire.write(BIG[start : start + 65536])
    await until(lambda: near.paused == 1, what="a paused writer")
    received = await peer.read_request()
    assert received.endswith(b"\r\n\r\n" + BIG)
    await until(lambda: near.paused == 0, what="a writer that may go on")
    near.wire.abort()


async def test_a_worker_that_closes_is_heard_of_once_and_behind_its_last_word(lab: Lab) -> None:
    near, peer = await connected(lab)
    await peer.send(b"half an ans")
    peer.close()
    await near.over()
    assert near.body == b"half an ans"
    assert near.calls[:2] == ["made", "data"]
    assert near.calls[2:] in (["eof", "lost"], ["lost"])
    assert near.lost == [None]


async def test_a_worker_that_resets_is_heard_of_once(lab: Lab) -> None:
    near, peer = await connected(lab)
    near.wire.write(b"x")
    await until(lambda: not near.wire.get_write_buffer_size())
    peer.reset()
    await near.over()
    assert near.calls.count("lost") == 1
    if lab.name == "direct":
        assert isinstance(near.lost[0], ConnectionResetError)


async def test_a_port_where_nobody_listens_is_an_os_error(lab: Lab) -> None:
    lab.worker.close()
    near = Near()
    with pytest.raises(OSError, match=r".") as caught:
        await lab.road.connect(lambda: near, lab.address)
    assert not isinstance(caught.value, RoadDownError)
    assert near.calls == []


async def test_a_way_that_hangs_ends_with_the_callers_patience(lab: Lab) -> None:
    lab.hang()
    near = Near()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await lab.road.connect(lambda: near, lab.address)
    assert "data" not in near.calls


async def test_an_abort_reaches_the_worker(lab: Lab) -> None:
    near, peer = await connected(lab)
    near.wire.write(REQUEST)
    await peer.read_request()
    near.wire.abort()
    async with asyncio.timeout(10):
        await peer.wait_closed()
    await near.over()


async def test_an_abort_in_the_middle_of_a_flood_reaches_the_worker(lab: Lab) -> None:
    near, peer = await connected(lab)
    near.wire.pause_reading()
    sending = asyncio.ensure_future(peer.send(BIG))
    await until(peer.is_held_back)
    near.wire.abort()
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(10):
            await sending
    async with asyncio.timeout(10):
        await peer.wait_closed()


async def test_two_hundred_at_once(lab: Lab) -> None:
    nears = [Near() for _ in range(200)]
    accepting = asyncio.ensure_future(_accept(lab.worker, len(nears)))
    async with asyncio.timeout(30):
        await asyncio.gather(*(lab.road.connect(lambda n=n: n, lab.address) for n in nears))
        peers = await accepting
    for number, near in enumerate(nears):
        near.wire.write(b"POST / HTTP/1.1\r\n\r\n%d" % number)
    for peer in peers:
        await peer.send((await peer.read_request()).partition(b"\r\n\r\n")[0][-8:])
        peer.close()
    for near in nears:
        await near.over()
        assert near.body == b"HTTP/1.1"


async def _accept(worker: ScriptedWorker, count: int) -> list[Peer]:
    return [await worker.accept() for _ in range(count)]


async def test_a_worker_that_speaks_first_is_heard_behind_the_connection(lab: Lab) -> None:
    near = Near()

    async def speak() -> None:
        peer = await lab.worker.accept()
        await peer.send(b"first")

    async with asyncio.timeout(10):
        await asyncio.gather(lab.road.connect(lambda: near, lab.address), speak())
        await until(lambda: near.body == b"first")
    assert near.calls == ["made", "data"]
    near.wire.abort()


async def test_a_road_that_breaks_down_ends_what_runs_over_it(lab: Lab) -> None:
    if lab.break_down is None:
        return
    near, _ = await connected(lab)
    lab.break_down()
    await near.over()
    assert near.calls.count("lost") == 1
    with pytest.raises(RoadDownError, match="mac"):
        await lab.road.connect(Near, lab.address)


# The same, as an exchange sees it.


async def test_a_whole_answer_comes_through(lab: Lab) -> None:
    recorder = Recorder()
    answering = asyncio.ensure_future(lab.worker.answer(HEAD, b"2\r\nhi\r\n", b"0\r\n\r\n"))
    opened = await open_exchange(
        lab.address, REQUEST, recorder, connect_timeout_s=10, road=lab.road
    )
    assert isinstance(opened, Exchange)
    assert await answering == REQUEST
    await recorder.wait_over()
    assert (recorder.status, recorder.body, recorder.calls[-1]) == (200, b"hi", "ended")


async def test_an_answer_that_is_cut_off_is_the_workers_end(lab: Lab) -> None:
    recorder = Recorder()
    answering = asyncio.ensure_future(lab.worker.answer(HEAD, b"2\r\nhi\r\n"))
    await open_exchange(lab.address, REQUEST, recorder, connect_timeout_s=10, road=lab.road)
    await answering
    await recorder.wait_over()
    assert recorder.fault is not None
    assert (recorder.fault.kind, recorder.fault.begun) == (FaultKind.EOF, True)


async def test_an_answer_whose_way_breaks_down_says_nothing_about_the_worker(lab: Lab) -> None:
    if lab.break_down is None:
        return
    recorder = Recorder()
    accepting = asyncio.ensure_future(lab.worker.accept())
    await open_exchange(lab.address, REQUEST, recorder, connect_timeout_s=10, road=lab.road)
    peer = await accepting
    await peer.read_request()
    await peer.send(HEAD + b"2\r\nhi\r\n")
    await recorder.wait_bytes(2)
    lab.break_down()
    await recorder.wait_over()
    assert recorder.fault is not None
    told = {FaultKind.LOST}
    if lab.name == "relay" and isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
        # asyncio's own TLS takes a connection that breaks for one that ends; uvloop's does not.
        told.add(FaultKind.EOF)
    assert recorder.fault.kind in told
    assert recorder.fault.begun


async def test_a_cancelled_exchange_closes_the_workers_connection(lab: Lab) -> None:
    recorder = Recorder()
    accepting = asyncio.ensure_future(lab.worker.accept())
    opened = await open_exchange(
        lab.address, REQUEST, recorder, connect_timeout_s=10, road=lab.road
    )
    assert isinstance(opened, Exchange)
    peer = await accepting
    await peer.read_request()
    await peer.send(HEAD + b"2\r\nhi\r\n")
    await recorder.wait_bytes(2)
    opened.abort()
    async with asyncio.timeout(10):
        await peer.wait_closed()
    assert recorder.calls == ["head", "data"]


async def test_a_held_back_exchange_gets_everything_in_the_end(lab: Lab) -> None:
    recorder = Recorder()
    accepting = asyncio.ensure_future(lab.worker.accept())
    opened = await open_exchange(
        lab.address, REQUEST, recorder, connect_timeout_s=10, road=lab.road
    )
    assert isinstance(opened, Exchange)
    peer = await accepting
    opened.pause()
    sending = asyncio.ensure_future(
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG)
    )
    await until(peer.is_held_back)
    opened.resume()
    await sending
    await recorder.wait_over()
    assert bytes(recorder.body) == BIG


async def test_a_small_call_is_answered(lab: Lab) -> None:
    answering = asyncio.ensure_future(
        lab.worker.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
    )
    reply = await call(
        lab.address,
        "GET",
        "/slots",
        bearer="key",
        body=b"",
        timeout_s=10,
        limit_bytes=100,
        road=lab.road,
    )
    assert isinstance(reply, Reply)
    assert reply.body == b"[]"
    assert b"Bearer key" in await answering


async def test_a_way_that_hangs_says_nothing_about_the_worker(lab: Lab) -> None:
    lab.hang()
    found = await open_exchange(
        lab.address, REQUEST, Recorder(), connect_timeout_s=0.2, road=lab.road
    )
    assert isinstance(found, Fault)
    assert found.kind is (FaultKind.CONNECT if lab.name == "direct" else FaultKind.ROAD)


async def test_a_worker_that_is_gone_is_told_from_a_road_that_is_down(lab: Lab) -> None:
    async def fault() -> Fault:
        found = await open_exchange(
            lab.address, REQUEST, Recorder(), connect_timeout_s=10, road=lab.road
        )
        assert isinstance(found, Fault)
        return found

    lab.worker.close()
    assert (await fault()).kind is FaultKind.CONNECT
    if lab.break_down is not None:
        lab.break_down()
        assert (await fault()).kind is FaultKind.ROAD
