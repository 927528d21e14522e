"""A scripted engine: speaks llama-server's dialect, and says and does only what a test tells it.

Every request of the orchestrator becomes an EngineCall; the test waits for the next one, sends
heads, events or nonsense over it, and learns when its client has closed the connection. Only
`GET /slots` is answered without the test, from the calls that are open.
"""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from typing import Any

__all__ = [
    "ENGINE_ID",
    "EngineCall",
    "FakeEngine",
    "chunk",
    "event",
    "finish",
    "progress",
    "role",
    "text",
]

ENGINE_ID = "chatcmpl-of-the-engine"
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\nX-Accel-Buffering: no\r\n\r\n"
)
_WAIT_S = 10.0


def event(body: object) -> bytes:
    """One event of a stream, written as the engine writes it."""
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def chunk(choices: list[dict[str, Any]], **more: object) -> dict[str, Any]:
    """A chat chunk with the fields around the choices."""
    return {
        "choices": choices,
        "created": 1_700_000_000,
        "id": ENGINE_ID,
        "model": "tiny-chat",
        "system_fingerprint": "b0-unknown",
        "object": "chat.completion.chunk",
        **more,
    }


def _choice(delta: Mapping[str, object], reason: str | None = None) -> dict[str, Any]:
    return {"finish_reason": reason, "index": 0, "delta": dict(delta)}


def text(words: str) -> bytes:
    """A chunk with one token."""
    return event(chunk([_choice({"content": words})]))


def role() -> bytes:
    """The chunk that opens an answer."""
    return event(chunk([_choice({"role": "assistant", "content": None})]))


def progress(processed: int = 1, total: int = 8) -> bytes:
    """A step of the prompt's evaluation."""
    told = {"total": total, "cache": 0, "processed": processed, "time_ms": 1}
    opening = _choice({"role": "assistant", "content": None})
    return event(chunk([opening], prompt_progress=told))


def finish(reason: str = "stop", *, prompt: int = 5, completion: int = 2) -> bytes:
    """The last choice, the usage and the end mark."""
    usage = {
        "completion_tokens": completion,
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
    }
    timings = {"prompt_n": prompt, "prompt_ms": 1.5, "predicted_ms": 2.5}
    last = event(chunk([_choice({}, reason)]))
    return last + event(chunk([], usage=usage, timings=timings)) + b"data: [DONE]\n\n"


class EngineCall:
    """One request that the engine got; nothing goes back unless the test says so."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.request_line = ""
        self.headers: dict[str, str] = {}
        self.body: dict[str, Any] = {}
        self.client_closed = asyncio.Event()
        self.over = asyncio.Event()

    async def read(self) -> bool:
        """Read the request; False when the client came only to look."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.request_line, *lines = head.decode().rstrip("\r\n").split("\r\n")
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()
        raw = await self._reader.readexactly(int(self.headers.get("content-length", "0")))
        self.body = json.loads(raw) if raw else {}
        return True

    async def watch(self) -> None:
        """Wait until the client closes its side."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65536):
                pass
        self.client_closed.set()

    @property
    def unsent_bytes(self) -> int:
        """What the client has not let us send."""
        return self._writer.transport.get_write_buffer_size()

    async def raw(self, data: bytes) -> None:
        """Send these bytes as they are; they may be held back by the client."""
        self._writer.write(data)
        await asyncio.sleep(0)

    async def open(self) -> None:
        """Begin to answer with a stream."""
        await self.raw(_STREAM_HEAD)

    async def send(self, *events: bytes) -> None:
        """Send events in one piece."""
        data = b"".join(events)
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def say(self, *words: str) -> None:
        """Send one token after the other, each in its own piece."""
        for word in words:
            await self.send(text(word))

    async def end(self, reason: str = "stop", *, prompt: int = 5, completion: int = 2) -> None:
        """End the answer well."""
        await self.send(finish(reason, prompt=prompt, completion=completion))
        await self.raw(b"0\r\n\r\n")
        self.close()

    async def answer(self, *words: str, reason: str = "stop") -> None:
        """Give a whole answer."""
        await self.open()
        await self.say(*words)
        await self.end(reason, completion=len(words))

    async def refuse(self, status: int, body: object) -> None:
        """Answer with an error as the engine words it."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\n"
        await self.raw(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        self.close()

    def close(self) -> None:
        """Close in good order."""
        self._writer.close()
        self.over.set()

    def reset(self) -> None:
        """Die: the client sees a reset."""
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()
        self.over.set()

    @property
    def computes(self) -> bool:
        """True while an engine would be at work on it."""
        return not (self.client_closed.is_set() or self.over.is_set())

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        async with asyncio.timeout(_WAIT_S):
            await self.client_closed.wait()


class FakeEngine:
    """Listens on a free port of the loopback.

    `stubborn` slots compute although nobody listens; `slots_status` other than 200 refuses to say.
    """

    def __init__(self) -> None:
        self.calls: list[EngineCall] = []
        self.stubborn = 0
        self.slots_status = 200
        self.slots_asked = 0
        self._fresh: asyncio.Queue[EngineCall] = asyncio.Queue(1000)
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def next_call(self) -> EngineCall:
        """Wait for the next request that nobody has taken yet."""
        async with asyncio.timeout(_WAIT_S):
            return await self._fresh.get()

    async def stop_listening(self) -> None:
        """Refuse further connections."""
        assert self._server is not None
        self._server.close()

    @property
    def waiting_calls(self) -> int:
        """Requests that no test has taken yet."""
        return self._fresh.qsize()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        call = EngineCall(reader, writer)
        if not await call.read():
            pass
        elif call.request_line.startswith("GET /slots "):
            self.slots_asked += 1
            writer.write(self._slots())
        else:
            self.calls.append(call)
            self._fresh.put_nowait(call)
            await call.watch()
        writer.close()

    def _slots(self) -> bytes:
        if self.slots_status != 200:
            return b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % self.slots_status
        busy = self.stubborn + sum(call.computes for call in self.calls)
        told = [{"id": number, "is_processing": number < busy} for number in range(busy + 1)]
        body = json.dumps(told).encode()
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)

    @classmethod
    @contextlib.asynccontextmanager
    async def listening(cls) -> AsyncIterator["FakeEngine"]:
        """Run an engine for a block."""
        engine = cls()
        engine._server = await asyncio.start_server(engine._serve, "127.0.0.1", 0)
        try:
            yield engine
        finally:
            engine._server.close()
            for call in engine.calls:
                call._writer.transport.abort()
