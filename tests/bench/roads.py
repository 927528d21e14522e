"""Prints what each road to a worker costs: directly, through SSH, through a pool's relay.

    ./dev bench roads [--streams 64] [--seconds 1.5]

One worker process sends a chunk to every stream each 10 ms, with the time in it; the server of SSH
and the relay's TLS are real and run beside it. The roads take turns in one run, because only their
ratios outlive the hour. Far CPU is that of the processes at the other end of the road, without the
worker. Nothing here asserts: machines differ.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import psutil
import uvloop

from orchestrator_core.clients.pinned import pinned_context
from orchestrator_core.clients.ssh.connection import Login, connect
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.clients.ssh.host_keys import KnownHosts
from orchestrator_core.errors import Refusal
from orchestratord.upstream.exchange import Exchange, Fault, open_exchange
from orchestratord.upstream.relay_road import Relay, RelayRoad
from orchestratord.upstream.road import DIRECT, Road
from orchestratord.upstream.ssh_road import SshRoad
from support.relay_host import RelayHost
from support.sshd import Sshd, running_sshd

WORKER = "wrk_1"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"at":%020d,"object":"chat.completion.chunk","padding":"' + b"x" * 140 + b'"}\n\n'
TIME_AT = EVENT.index(b"%")
TIME_LENGTH = 20
EVERY_S = 0.01
ROUNDS = 3
FIRST_TOKENS = 60


def chunk() -> bytes:
    """One event that carries the time."""
    event = EVENT % time.monotonic_ns()
    return b"%x\r\n%b\r\n" % (len(event), event)


class Stream(asyncio.Protocol):
    """The worker's end of one stream; it answers whatever it is asked."""

    def __init__(self, streams: "set[Stream]") -> None:
        self._streams = streams

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self.wire = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Send head and first token."""
        self.wire.write(HEAD + chunk())
        self._streams.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Send no more."""
        self._streams.discard(self)


async def be_the_worker(pipe: Connection) -> None:
    """Send to every stream at each beat, for ever."""
    streams: set[Stream] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stream(streams), "127.0.0.1", 0, backlog=1024)
    pipe.send(server.sockets[0].getsockname()[1])
    due = loop.time()
    while True:
        due += EVERY_S
        await asyncio.sleep(max(0.0, due - loop.time()))
        for stream in list(streams):
            stream.wire.write(chunk())


async def be_the_relay(pipe: Connection, worker_port: int) -> None:
    """Relay to the worker, for ever."""
    with tempfile.TemporaryDirectory() as folder:
        async with RelayHost.listening(Path(folder)) as host:
            host.workers[WORKER] = worker_port
            pipe.send(host.port)
            await asyncio.Event().wait()


def run_worker(pipe: Connection) -> None:
    """Be the worker's process."""
    uvloop.run(be_the_worker(pipe))


def run_relay(pipe: Connection, worker_port: int) -> None:
    """Be the relay's process."""
    uvloop.run(be_the_relay(pipe, worker_port))


@contextlib.contextmanager
def process(work: Callable[..., None], *more: object) -> Iterator[tuple[int, int]]:
    """Run one for a block; its pid, and the port that it tells."""
    mine, theirs = multiprocessing.Pipe()
    running = multiprocessing.Process(target=work, args=(theirs, *more), daemon=True)
    running.start()
    try:
        assert running.pid is not None
        yield running.pid, mine.recv()
    finally:
        running.terminate()
        running.join()


@dataclass
class Receiver:
    """Counts chunks and how long each was on its way."""

    delays_us: list[float] = field(default_factory=list)
    first: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Expect no refusal."""
        assert status == 200, headers

    def data(self, body: bytes) -> None:
        """Read the time in it."""
        sent = int(body[TIME_AT : TIME_AT + TIME_LENGTH])
        self.delays_us.append((time.monotonic_ns() - sent) / 1000)
        if not self.first.done():
            self.first.set_result(None)

    def ended(self) -> None:
        """It never ends by itself."""

    def broken(self, fault: Fault) -> None:
        """It never breaks."""
        if not self.first.done():
            self.first.set_exception(ConnectionError(fault.message))


@dataclass
class Way:
    """One road, and the processes at its other end."""

    road: Road
    port: int
    far: Callable[[], list[int]]
    first_us: list[float] = field(default_factory=list)
    one_us: list[float] = field(default_factory=list)
    many_us: list[float] = field(default_factory=list)
    cpu_us: list[float] = field(default_factory=list)
    far_us: list[float] = field(default_factory=list)

    async def open(self, receiver: Receiver) -> Exchange:
        """Ask for a stream."""
        request = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
        found = await open_exchange(
            ("127.0.0.1", self.port), request, receiver, connect_timeout_s=10, road=self.road
        )
        assert isinstance(found, Exchange), found
        return found

    def far_s(self) -> float:
        """CPU seconds of the other end so far."""
        times = [psutil.Process(pid).cpu_times() for pid in self.far()]
        return sum(it.user + it.system for it in times)

    async def first_tokens(self) -> None:
        """Open one stream after the other, to its first token."""
        for _ in range(FIRST_TOKENS):
            receiver, start = Receiver(), time.perf_counter()
            exchange = await self.open(receiver)
            await receiver.first
            self.first_us.append((time.perf_counter() - start) * 1e6)
            exchange.abort()
            await asyncio.sleep(0.002)

    async def streams(self, count: int, seconds: float) -> None:
        """Read many streams for a while."""
        receivers = [Receiver() for _ in range(count)]
        exchanges = [await self.open(receiver) for receiver in receivers]
        await asyncio.gather(*(receiver.first for receiver in receivers))
        await asyncio.sleep(0.1)
        for receiver in receivers:
            receiver.delays_us.clear()
        cpu, far = time.process_time(), self.far_s()
        await asyncio.sleep(seconds)
        cpu, far = time.process_time() - cpu, self.far_s() - far
        delays = [delay for receiver in receivers for delay in receiver.delays_us]
        for exchange in exchanges:
            exchange.abort()
        await asyncio.sleep(0.05)
        if count == 1:
            self.one_us += delays
            return
        self.many_us += delays
        self.cpu_us.append(cpu / len(delays) * 1e6)
        self.far_us.append(far / len(delays) * 1e6)


@contextlib.asynccontextmanager
async def all_ways(
    worker_port: int, sshd: Sshd, relay_pid: int, relay_port: int
) -> AsyncIterator[dict[str, Way]]:
    """The three roads."""
    login = Login(known_hosts=KnownHosts((sshd.known_hosts,)), client_key=sshd.client_key)
    trust = pinned_context(RelayHost.certificate)
    connection = await connect(Destination("127.0.0.1", sshd.user, sshd.port), login)
    if isinstance(trust, Refusal) or isinstance(connection, Refusal):
        sys.exit(f"no way: {trust} {connection}")
    relay = Relay("mac", ("127.0.0.1", relay_port), trust, RelayHost.control_key)
    async with connection:
        yield {
            "direct": Way(DIRECT, worker_port, list),
            "ssh": Way(SshRoad("mac", lambda: connection), worker_port, sshd.session_pids),
            "relay": Way(RelayRoad(relay, WORKER), worker_port, lambda: [relay_pid]),
        }


def show(ways: Mapping[str, Way], streams: int) -> None:
    """Print the table."""

    def middle(found: list[float]) -> float:
        return statistics.median(found)

    def late(found: list[float]) -> float:
        return statistics.quantiles(found, n=20)[-1]

    floor = ways["direct"]
    print(f"{streams} streams, a chunk each {EVERY_S * 1000:g} ms; microseconds (x direct)")
    print("road     first token p50  one stream p50 p95  all p50 p95     CPU a chunk  far CPU")
    for name, way in ways.items():
        first, cpu = middle(way.first_us), middle(way.cpu_us)
        print(
            f"{name:<8} {first:6.0f} ({first / middle(floor.first_us):4.2f} x)"
            f"  {middle(way.one_us):9.0f} {late(way.one_us):6.0f}"
            f"  {middle(way.many_us):7.0f} {late(way.many_us):6.0f}"
            f"  {cpu:6.1f} ({cpu / middle(floor.cpu_us):4.2f} x)  {middle(way.far_us):6.1f}"
        )


async def measure(ways: Mapping[str, Way], streams: int, seconds: float) -> None:
    """Let the roads take turns."""
    for turn in range(ROUNDS):
        names = list(ways) if turn % 2 == 0 else list(reversed(ways))
        for name in names:
            await ways[name].first_tokens()
            await ways[name].streams(1, seconds / 2)
            await ways[name].streams(streams, seconds)


async def run(options: argparse.Namespace, worker_port: int, relay: tuple[int, int]) -> None:
    """Start what is missing, and measure."""
    with tempfile.TemporaryDirectory() as folder, running_sshd(Path(folder)) as sshd:
        async with all_ways(worker_port, sshd, *relay) as ways:
            await measure(ways, options.streams, options.seconds)
            show(ways, options.streams)


def main() -> None:
    """Run everything within about half a minute."""
    options = argparse.ArgumentParser()
    options.add_argument("--streams", type=int, default=64)
    options.add_argument("--seconds", type=float, default=1.5, help="of each turn of each road")
    chosen = options.parse_args()
    with process(run_worker) as (_, port), process(run_relay, port) as relay:
        uvloop.run(run(chosen, port, relay))


if __name__ == "__main__":
    main()
