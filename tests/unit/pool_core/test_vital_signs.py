"""What a worker's engine may answer when it is asked for its counters."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import psutil
import pytest

from pool_core.workers import vital_signs
from pool_core.workers.vital_signs import read_counters, resident_bytes
from pool_core.workers.watchdog import Counters

Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def engine(say: Say) -> AsyncIterator[str]:
    """A server that says the same to everyone."""
    done = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            await say(writer)
        writer.close()
        done.set()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        await done.wait()
        server.close()


def answer(status: str, body: str) -> Say:
    async def say(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()

    return say


async def test_reads_the_counters_of_an_engine() -> None:
    body = "llamacpp:requests_processing 2\nllamacpp:n_decode_total 7\n"
    async with engine(answer("200 OK", body)) as url:
        assert await read_counters(url, "key") == Counters(2, (0.0, 0.0, 7.0))


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "501 Not Implemented"])
async def test_an_engine_that_answers_without_counters_is_alive(status: str) -> None:
    async with engine(answer(status, "counters of another kind")) as url:
        assert await read_counters(url, "key") == Counters(0, ())


async def test_an_endless_answer_is_read_no_further_than_counters_reach() -> None:
    async def flood(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nllamacpp:requests_processing 1\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    async with engine(flood) as url:
        assert await read_counters(url, "key") == Counters(1, (0.0, 0.0, 0.0))


async def test_an_answer_that_comes_drop_by_drop_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vital_signs, "_ANSWER_S", 0.2)
    gone = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter) -> None:
        # Each drop comes well within the time that a single read may take.
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while not gone.is_set():
            writer.write(b"#")
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(gone.wait(), 0.02)

    async with engine(drip) as url:
        try:
            async with asyncio.timeout(10):
                assert await read_counters(url, "key") is None
        finally:
            gone.set()


async def test_nobody_there_is_no_answer() -> None:
    async with engine(answer("200 OK", "")) as url:
        await read_counters(url, "key")
    assert await read_counters(url, "key") is None


def test_a_process_that_cannot_be_looked_at_holds_nobody_knows_what(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_pid: int) -> None:
        raise OSError("no descriptor is left")

    monkeypatch.setattr(psutil, "Process", full)
    assert resident_bytes(1) is None
