"""A pool as its orchestrator meets it through SSH: join, session stream, answers, orders.

It says only what a test tells it to say, and keeps what it is answered and ordered.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from typing import Any

from orchestrator_core.contracts.pool import WorkerReport
from orchestrator_core.stream import sse
from orchestrator_core.testing.reports import device_report, worker_report
from support.waiting import until

__all__ = ["FakeSessionPool"]

_WAIT_S = 10.0
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


@dataclass
class _Request:
    method: str
    path: str
    bearer: str
    body: Any


@dataclass
class FakeSessionPool:
    """One pool-managerd of a host; it listens on a free port of the loopback."""

    pool_id: str = "mac"
    token: str = "one-time-token-of-mac"
    credential: str = "credential-of-the-pool"
    joins: list[str] = field(default_factory=list)
    refused: int = 0
    orders: list[tuple[str, Any]] = field(default_factory=list)
    answers: dict[int, dict[str, Any]] = field(default_factory=dict)
    streams: int = 0
    refuse_answers: bool = False
    calls_itself: str | None = None
    _server: asyncio.Server | None = None
    _stream: asyncio.StreamWriter | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _next_id: int = 0
    _seq: int = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def session_id(self) -> str:
        """The session of the present stream."""
        return f"ses_{self.streams:026d}"

    async def held(self, streams: int = 1) -> None:
        """Wait until the stream of this number is open."""
        await until(
            lambda: self.streams >= streams and self._stream is not None,
            what=f"session stream {streams}",
        )

    async def say(self, kind: str, body: object) -> dict[str, Any]:
        """Send one message and return what it is answered."""
        number = await self.tell(kind, body)
        return await until(lambda: self.answers.get(number), what=f"answer {number}") or {}

    async def tell(self, kind: str, body: object) -> int:
        """Send one message and return its number."""
        assert self._stream is not None
        self._next_id += 1
        self._stream.write(sse.encode(data=json.dumps(body), event=kind, id=self._next_id))
        await self._stream.drain()
        return self._next_id

    async def comment(self) -> None:
        """Send a sign of life."""
        assert self._stream is not None
        self._stream.write(sse.comment())
        await self._stream.drain()

    async def register(self, *workers: WorkerReport, **more: object) -> dict[str, Any]:
        """Register with these workers."""
        self._seq = 0
        body = {
            "pool_id": self.pool_id,
            "session_id": self.session_id,
            "endpoint": f"http://127.0.0.1:{self.port}",
            "control_key": "control-of-the-session",
            "version": "0.1.0",
            "models": [],
            "engines": ["embedded"],
            **_reported(workers),
            **more,
        }
        return await self.say("register", body)

    async def beat(self, *workers: WorkerReport) -> dict[str, Any]:
        """Report these workers."""
        self._seq += 1
        told = {"pool_id": self.pool_id, "session_id": self.session_id, "seq": self._seq}
        return await self.say("heartbeat", {**told, **_reported(workers)})

    def end_session(self) -> None:
        """Close the stream."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def stop_listening(self) -> None:
        """Die: refuse further connections and drop those that are open."""
        assert self._server is not None
        self._server.close()
        self._stream = None
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            request = await _read(reader)
            if request is not None:
                await self._answer(request, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        match request.method, request.path:
            case "POST", "/session/join":
                self._join(request, writer)
            case _ if request.path.startswith("/session") and request.bearer != self.credential:
                self.refused += 1
                _refuse(writer, 401, "BAD_KEY", "this key opens no session of this pool")
            case "GET", "/session":
                await self._hold(reader, writer)
            case "POST", "/session/answers" if self.refuse_answers:
                self.refused += 1
                _refuse(writer, 409, "CONFLICT", "nobody waits for this answer")
            case "POST", "/session/answers":
                self.answers[request.body["id"]] = request.body
                _reply(writer, {"status": "ok"})
            case "POST", path:
                self.orders.append((path, request.body))
                report = worker_report("wrk_0000000000000000000000ordered")
                _reply(writer, report.model_dump(mode="json"))
            case _:
                _refuse(writer, 404, "NOT_FOUND", "there is no such path")

    def _join(self, request: _Request, writer: asyncio.StreamWriter) -> None:
        self.joins.append(request.body["token"])
        if request.body["token"] == self.token:
            name = self.calls_itself or self.pool_id
            _reply(writer, {"pool_id": name, "key": self.credential})
        else:
            _refuse(writer, 403, "BAD_TOKEN", "this token opens nothing here")

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.end_session()
        writer.write(_STREAM_HEAD + sse.comment())
        self._stream = writer
        self.streams += 1
        await reader.read()
        if self._stream is writer:
            self._stream = None

    @classmethod
    @contextlib.asynccontextmanager
    async def listening(cls, **settings: Any) -> AsyncGenerator["FakeSessionPool"]:
        """Run one for a block."""
        pool = cls(**settings)
        pool._server = await asyncio.start_server(pool._serve, "127.0.0.1", 0)
        try:
            yield pool
        finally:
            pool.stop_listening()


def _reported(workers: Iterable[WorkerReport]) -> dict[str, Any]:
    return {
        "devices": [device_report().model_dump(mode="json")],
        "workers": [worker.model_dump(mode="json") for worker in workers],
    }


async def _read(reader: asyncio.StreamReader) -> _Request | None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *lines = head.rstrip("\r\n").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (it.partition(":") for it in lines)}
    raw = await reader.readexactly(int(fields.get("content-length", "0")))
    method, path, _ = line.split(" ")
    bearer = fields.get("authorization", "").removeprefix("Bearer ")
    return _Request(method, path, bearer, json.loads(raw) if raw else None)


def _reply(writer: asyncio.StreamWriter, body: object, status: int = 200) -> None:
    data = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} Word\r\nContent-Type: application/json\r\nConnection: close\r\n"
    writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)


def _refuse(writer: asyncio.StreamWriter, status: int, code: str, message: str) -> None:
    _reply(writer, {"error": {"code": code, "message": message}}, status)
