"""The real exchange against a scripted worker over real sockets, on asyncio and uvloop."""

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Iterator

import pytest

from orchestratord.upstream.exchange import Exchange, Fault, FaultKind, open_exchange
from orchestratord.upstream.http1 import ResponseLimits
from orchestratord.upstream.request import build_request
from support.scripted_peer import Peer, Recorder, ScriptedWorker
from support.waiting import until

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b"data: {}\n\n"
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
END = b"0\r\n\r\n"
REQUEST = build_request(
    "POST", "/x", "worker", b"{}", bearer=None, accept="*/*", correlation_id=None
)
FLOOD_BYTES = 64 * 1024 * 1024


@pytest.fixture
async def talk(worker: ScriptedWorker) -> AsyncIterator[tuple[Exchange, Peer, Recorder]]:
    """An exchange whose request the worker has read."""
    recorder = Recorder()
    exchange = await opened(worker, recorder)
    peer = await worker.accept()
    assert await peer.read_request() == REQUEST
    yield exchange, peer, recorder
    exchange.abort()
    peer.close()


async def opened(worker: ScriptedWorker, recorder: Recorder) -> Exchange:
    exchange = await open_exchange(worker.address, REQUEST, recorder, connect_timeout_s=10)
    assert isinstance(exchange, Exchange)
    recorder.exchange = exchange
    return exchange


Talk = tuple[Exchange, Peer, Recorder]


async def test_delivers_a_stream_as_it_comes(talk: Talk) -> None:
    exchange, peer, recorder = talk
    await peer.send(HEAD)
    for count in (1, 2, 3):
        await peer.send(CHUNK)
        await recorder.wait_bytes(count * len(EVENT))
    await peer.send(END)
    await recorder.wait_over()
    assert recorder.calls == ["head", "data", "data", "data", "ended"]
    assert (recorder.status, bytes(recorder.body)) == (200, EVENT * 3)
    assert recorder.headers[b"content-type"] == b"text/event-stream"
    assert exchange.finished
    await peer.wait_closed()


@pytest.mark.parametrize("step", [1, 3, 7, 40, 1000])
async def test_any_pace_of_the_worker_gives_the_same_answer(talk: Talk, step: int) -> None:
    _, peer, recorder = talk
    stream = HEAD + CHUNK * 4 + END
    for start in range(0, len(stream), step):
        await peer.send(stream[start : start + step])
        await asyncio.sleep(0)
    await recorder.wait_over()
    assert (recorder.calls[0], recorder.calls[-1]) == ("head", "ended")
    assert bytes(recorder.body) == EVENT * 4


async def test_an_answer_without_length_ends_with_the_connection(talk: Talk) -> None:
    _, peer, recorder = talk
    await peer.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    peer.close()
    await recorder.wait_over()
    assert (recorder.calls, bytes(recorder.body)) == (["head", "data", "ended"], b"all of it")


@pytest.mark.parametrize(
    ("sent", "calls", "begun"),
    [
        (b"", ["broken"], False),
        (b"HTTP/1.1 200", ["broken"], True),
        (HEAD, ["head", "broken"], True),
        (HEAD + CHUNK, ["head", "data", "broken"], True),
        (HEAD + CHUNK[:-4], ["head", "data", "broken"], True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort", ["head", "data", "broken"], True),
    ],
)
async def test_reports_an_end_before_the_end(
    talk: Talk, sent: bytes, calls: list[str], begun: bool
) -> None:
    _, peer, recorder = talk
    await peer.send(sent)
    peer.close()
    await recorder.wait_over()
    assert recorder.calls == calls
    assert recorder.fault is not None
    assert (recorder.fault.kind, recorder.fault.begun) == (FaultKind.EOF, begun)


async def test_reports_a_reset_after_delivering_what_came(talk: Talk) -> None:
    _, peer, recorder = talk
    await peer.send(HEAD + CHUNK)
    await recorder.wait_bytes(len(EVENT))
    peer.reset()
    await recorder.wait_over()
    assert recorder.calls == ["head", "data", "broken"]
    assert recorder.fault is not None
    assert recorder.fault.kind is FaultKind.RESET


async def test_refuses_a_malformed_answer_and_closes(talk: Talk) -> None:
    exchange, peer, recorder = talk
    await peer.send(HEAD + CHUNK + b"zz\r\n")
    await recorder.wait_over()
    assert recorder.calls == ["head", "data", "broken"]
    message = "the worker's answer is not valid HTTP: bad chunk size"
    assert recorder.fault == Fault(FaultKind.PROTOCOL, message, begun=True)
    assert exchange.finished
    await peer.wait_closed()


async def test_abort_closes_and_nothing_more_is_heard(talk: Talk) -> None:
    exchange, peer, recorder = talk
    await peer.send(HEAD + CHUNK)
    await recorder.wait_bytes(len(EVENT))
    exchange.abort()
    exchange.abort()
    await peer.wait_closed()
    assert recorder.calls == ["head", "data"]
    assert exchange.finished


async def test_abort_beats_bytes_that_have_already_arrived(talk: Talk) -> None:
    exchange, peer, recorder = talk
    await peer.send(HEAD + CHUNK + END)
    exchange.abort()
    await peer.wait_closed()
    assert recorder.calls == []


@pytest.mark.parametrize(
    ("abort_in", "calls"),
    [("head", ["head"]), ("data", ["head", "data"]), ("ended", ["head", "data", "ended"])],
)
async def test_abort_from_inside_a_call_stops_the_rest_of_that_read(
    talk: Talk, abort_in: str, calls: list[str]
) -> None:
    _, peer, recorder = talk
    recorder.abort_in = abort_in
    await peer.send(HEAD + CHUNK + END)
    await peer.wait_closed()
    assert recorder.calls == calls


async def test_pause_holds_the_worker_back_until_resume(talk: Talk) -> None:
    exchange, peer, recorder = talk
    await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % FLOOD_BYTES)
    await until(lambda: recorder.calls)
    exchange.pause()
    exchange.pause()
    assert exchange.paused
    async with asyncio.TaskGroup() as tasks:
        sending = tasks.create_task(peer.send(bytes(FLOOD_BYTES)))
        await until(peer.is_held_back, what="full socket buffers")
        assert not sending.done()
        assert recorder.calls == ["head"]
        exchange.resume()
        exchange.resume()
    await recorder.wait_over()
    assert len(recorder.body) == FLOOD_BYTES
    assert recorder.calls[-1] == "ended"


async def test_pause_and_resume_after_the_end_do_nothing(talk: Talk) -> None:
    exchange, _, _ = talk
    exchange.abort()
    exchange.pause()
    exchange.resume()
    assert not exchange.paused


async def test_notes_when_the_last_byte_came(talk: Talk) -> None:
    exchange, peer, recorder = talk
    loop = asyncio.get_running_loop()
    asked_at = exchange.last_byte_at
    assert asked_at <= loop.time()
    await until(lambda: loop.time() > asked_at, what="the clock to move")
    await peer.send(HEAD + b"1")
    await until(lambda: recorder.calls)
    assert exchange.last_byte_at > asked_at


async def test_sets_the_socket_up_for_small_writes_and_dead_peers(talk: Talk) -> None:
    exchange, _, _ = talk
    assert exchange._transport is not None
    connection = exchange._transport.get_extra_info("socket")
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000


async def test_a_finished_exchange_lets_its_receiver_go(worker: ScriptedWorker) -> None:
    recorder = Recorder()
    exchange = await opened(worker, recorder)
    kept = weakref.ref(recorder)
    recorder.exchange = None
    del recorder
    gc.disable()
    try:
        exchange.abort()
        assert kept() is None
    finally:
        gc.enable()


async def test_a_refused_connection_is_a_fault_and_no_call() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        recorder = Recorder()
        found = await open_exchange(closed.getsockname(), REQUEST, recorder, connect_timeout_s=10)
    assert isinstance(found, Fault)
    assert (found.kind, found.begun) == (FaultKind.CONNECT, False)
    assert recorder.calls == []


@pytest.mark.parametrize("address", [("127.0.0.1", 70_000), ("a\0b", 1)])
async def test_an_impossible_address_is_a_fault(address: tuple[str, int]) -> None:
    found = await open_exchange(address, REQUEST, Recorder(), connect_timeout_s=10)
    assert isinstance(found, Fault)
    assert found.kind is FaultKind.CONNECT


@pytest.fixture
def silent_address() -> Iterator[tuple[str, int]]:
    """Where a connection is neither made nor refused: a full backlog drops what comes next."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


async def test_gives_up_connecting_to_a_host_that_does_not_answer(
    silent_address: tuple[str, int],
) -> None:
    recorder = Recorder()
    found = await open_exchange(silent_address, REQUEST, recorder, connect_timeout_s=0.05)
    assert found == Fault(FaultKind.CONNECT, "no connection to the worker within 0.05 s")
    assert recorder.calls == []


async def test_cancelling_the_opening_is_not_heard(silent_address: tuple[str, int]) -> None:
    recorder = Recorder()
    opening = asyncio.get_running_loop().create_task(
        open_exchange(silent_address, REQUEST, recorder, connect_timeout_s=30)
    )
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    assert opening.cancelled()
    assert recorder.calls == []


class Wire(asyncio.Transport):
    """A transport that only remembers."""

    def __init__(self) -> None:
        super().__init__({"socket": socket.socket()})
        self.written = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.aborted = True
        if self.get_extra_info("socket") is not None:
            self.get_extra_info("socket").close()


@pytest.fixture
async def wired() -> AsyncIterator[tuple[Exchange, Wire, Recorder]]:
    """An exchange that is connected and has not asked yet."""
    recorder, wire = Recorder(), Wire()
    exchange = Exchange(asyncio.get_running_loop(), recorder, ResponseLimits())
    exchange.connection_made(wire)
    yield exchange, wire, recorder
    exchange.abort()


Wired = tuple[Exchange, Wire, Recorder]


@pytest.mark.parametrize(
    ("early", "kind"), [(b"HTTP/1.1 200 OK\r\n", FaultKind.PROTOCOL), (None, FaultKind.EOF)]
)
async def test_what_happens_before_the_request_is_a_fault_and_no_call(
    wired: Wired, early: bytes | None, kind: FaultKind
) -> None:
    exchange, wire, recorder = wired
    if early is None:
        exchange.eof_received()
    else:
        exchange.data_received(early)
    exchange.connection_lost(None)
    fault = exchange.ask(REQUEST)
    assert fault is not None
    assert fault.kind is kind
    assert (wire.written, wire.aborted, recorder.calls) == (b"", True, [])


@pytest.mark.parametrize(
    ("lost", "kind", "message"),
    [
        (None, FaultKind.ABORTED, "closed by us"),
        (TimeoutError(110, "timed out"), FaultKind.TIMEOUT, "stopped answering"),
        (ConnectionResetError(104, "reset by peer"), FaultKind.RESET, "broke: reset by peer"),
        (BrokenPipeError(), FaultKind.RESET, "broke: BrokenPipeError"),
        (RuntimeError("odd"), FaultKind.ABORTED, "RuntimeError('odd')"),
    ],
)
async def test_names_how_a_connection_was_lost(
    wired: Wired, lost: Exception | None, kind: FaultKind, message: str
) -> None:
    exchange, _, recorder = wired
    assert exchange.ask(REQUEST) is None
    exchange.connection_lost(lost)
    assert recorder.calls == ["broken"]
    assert recorder.fault is not None
    assert recorder.fault.kind is kind
    assert message in recorder.fault.message


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (ConnectionResetError(104, "reset by peer"), ": reset by peer"),
        (RuntimeError("odd"), ": odd"),
        (None, ""),
    ],
)
async def test_a_connection_to_the_host_that_breaks_says_nothing_about_the_worker(
    lost: Exception | None, said: str
) -> None:
    recorder, wire = Recorder(), Wire()
    # A channel has no socket.
    wire.get_extra_info("socket").close()
    wire._extra.clear()
    exchange = Exchange(asyncio.get_running_loop(), recorder, ResponseLimits(), far=True)
    exchange.connection_made(wire)
    assert exchange.ask(REQUEST) is None
    exchange.connection_lost(lost)
    assert recorder.fault == Fault(FaultKind.LOST, f"the way to the worker broke{said}")


async def test_a_connection_made_after_abort_is_dropped() -> None:
    exchange = Exchange(asyncio.get_running_loop(), Recorder(), ResponseLimits())
    exchange.abort()
    wire = Wire()
    exchange.connection_made(wire)
    assert wire.aborted
    assert exchange.ask(REQUEST) is not None
