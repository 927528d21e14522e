"""Prints what one chunk of a token stream costs on its way in, step by step.

    python tests/bench/upstream_chunks.py [--loop uvloop|asyncio] [--streams 64] [--seconds 1.0]

The pure steps run in a tight loop. Over loopback, a sender process writes one chunk to each of
many connections and waits for one byte back, so that every read is one chunk; the cost is the
CPU time of this process alone. A bare protocol that only counts bytes, interleaved in the same
run, is the floor that the ratios refer to. Nothing here asserts: machines differ.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import socket
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import uvloop

from orchestrator_core.stream.frames import FrameSplitter, payload
from orchestratord.upstream.exchange import Exchange, Fault, open_exchange
from orchestratord.upstream.http1 import ResponseLimits, ResponseParser

EVENT = (
    b'data: {"choices":[{"finish_reason":null,"index":0,"delta":{"content":" am"}}],'
    b'"created":1795262726,"id":"chatcmpl-5DmRRn6zMyB5OwBMKz4lMk7zzQhPGxBG",'
    b'"model":"tiny-chat","object":"chat.completion.chunk"}\n\n'
)
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)
HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nAccess-Control-Allow-Origin: \r\n"
    b"X-Accel-Buffering: no\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
)
REQUEST = b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
ROUNDS = 5
BURST = 32


class Count:
    """A receiver that counts, acknowledges each full round and may cut events."""

    def __init__(self, rounds: "Rounds | None" = None, *, frames: bool = False) -> None:
        self.rounds = rounds
        self.size = 0
        self.splitter = FrameSplitter() if frames else None

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        """Do nothing."""

    def data(self, body: bytes) -> None:
        """Count, and split where the measurement says so."""
        if self.splitter is not None:
            for frame in self.splitter.feed(body):
                self.size += len(payload(frame) or b"")
        else:
            self.size += len(body)
        if self.rounds is not None:
            self.rounds.one_read()

    def ended(self) -> None:
        """Do nothing."""

    def broken(self, fault: Fault) -> None:
        """Do nothing."""


class Bare(asyncio.Protocol):
    """The floor: counts bytes."""

    def __init__(self, rounds: "Rounds") -> None:
        self.rounds = rounds
        self.size = 0

    def data_received(self, data: bytes) -> None:
        """Count."""
        self.size += len(data)
        self.rounds.one_read()


@dataclass
class Rounds:
    """Counts reads and tells the sender when every stream had its chunk."""

    streams: int
    control: socket.socket
    reads: int = 0
    open: bool = field(default=False)

    def one_read(self) -> None:
        """Count one read; ask for more at the end of a round."""
        self.reads += 1
        if self.open and self.reads % self.streams == 0:
            self.control.send(b"+")


def send_forever(pipe: Connection, streams: int) -> None:
    """Be the workers: one process, plain blocking writes."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=streams + 8)
    pipe.send(listener.getsockname())
    while True:
        control, _ = listener.accept()
        with control:
            workers = [listener.accept()[0] for _ in range(streams)]
            control.send(b"+")
            for worker in workers:
                worker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with contextlib.suppress(OSError):
                first = control.recv(1)
                while first:
                    piece = HEAD if first == b"h" else CHUNK
                    for worker in workers:
                        os.write(worker.fileno(), piece)
                    first = control.recv(1)
            for worker in workers:
                worker.close()


async def over_loopback(
    address: tuple[str, int], streams: int, seconds: float, kind: str
) -> tuple[float, float]:
    """CPU and wall microseconds per chunk for one kind of receiver."""
    control = socket.create_connection(address)
    rounds = Rounds(streams, control)
    loop = asyncio.get_running_loop()
    closing: list[Callable[[], None]] = [control.close]
    for _ in range(streams):
        if kind == "bare":
            transport, _ = await loop.create_connection(lambda: Bare(rounds), *address)
            closing.append(transport.abort)
        else:
            receiver = Count(rounds, frames=kind == "frames")
            opened = await open_exchange(address, REQUEST, receiver, connect_timeout_s=5)
            assert isinstance(opened, Exchange)
            closing.append(opened.abort)
    await asyncio.to_thread(control.recv, 1)
    if kind != "bare":
        control.send(b"h")
        await asyncio.sleep(0.1)
        rounds.reads = 0
    rounds.open = True
    cpu, wall, reads = time.process_time(), time.perf_counter(), rounds.reads
    control.send(b"+")
    await asyncio.sleep(seconds)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    reads = rounds.reads - reads
    rounds.open = False
    for close in closing:
        close()
    await asyncio.sleep(0.01)
    return cpu / reads * 1e6, wall / reads * 1e6


def in_a_loop(step: Callable[[bytes], object], piece: bytes, chunks: int) -> float:
    """Fewest microseconds of CPU per chunk that one pure step took in many short runs."""
    times: list[float] = []
    calls = 4_000 // chunks
    for _ in range(30):
        start = time.process_time()
        for _ in range(calls):
            step(piece)
        times.append((time.process_time() - start) / (calls * chunks))
    return min(times) * 1e6


def pure_steps() -> None:
    """Print the steps that need no socket."""
    for chunks in (1, BURST):
        splitter = FrameSplitter()
        splitter.feed(b": first\n\n")
        parser = ResponseParser(Count(), ResponseLimits())
        parser.expect()
        parser.feed(HEAD)
        label = "1 chunk a read" if chunks == 1 else f"{chunks} chunks a read"
        print(f"pure, {label}:")
        print(f"  FrameSplitter   {in_a_loop(splitter.feed, EVENT * chunks, chunks):7.3f} us/chunk")
        if chunks == 1:
            print(f"  payload         {in_a_loop(payload, EVENT, 1):7.3f} us/chunk")
        print(f"  ResponseParser  {in_a_loop(parser.feed, CHUNK * chunks, chunks):7.3f} us/chunk")


async def measure(address: tuple[str, int], streams: int, seconds: float) -> None:
    """Interleave the kinds and print medians and ratios."""
    kinds = ("bare", "exchange", "frames")
    names = {
        "bare": "bare protocol",
        "exchange": "Exchange",
        "frames": "Exchange + frames + payload",
    }
    found: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(ROUNDS):
        for kind in kinds if turn % 2 == 0 else reversed(kinds):
            found[kind].append((await over_loopback(address, streams, seconds / ROUNDS, kind))[0])
    floor = statistics.median(found["bare"])
    print(f"loopback, {streams} streams, one chunk a read, CPU of the receiver:")
    for kind in kinds:
        cost = statistics.median(found[kind])
        print(f"  {names[kind]:<28} {cost:7.2f} us/chunk  {cost / floor:5.2f} x bare")


def main() -> None:
    """Run everything within about ten seconds."""
    options = argparse.ArgumentParser()
    options.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    options.add_argument("--streams", type=int, default=64)
    options.add_argument("--seconds", type=float, default=2.0, help="of loopback for each kind")
    chosen = options.parse_args()
    pure_steps()
    mine, theirs = multiprocessing.Pipe()
    sender = multiprocessing.Process(
        target=send_forever, args=(theirs, chosen.streams), daemon=True
    )
    sender.start()
    factory = uvloop.new_event_loop if chosen.loop == "uvloop" else asyncio.new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(measure(mine.recv(), chosen.streams, chosen.seconds))
    finally:
        sender.terminate()
        sender.join()


if __name__ == "__main__":
    main()
