"""A pool's own API of a few lines: answers orders as it is told, and remembers them."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from orchestrator_core.testing.reports import worker_report

__all__ = ["AnsweringPool"]


@dataclass
class AnsweringPool:
    """One pool on a free port of the loopback; it says 401 to every key but its own."""

    key: str = "control"
    draining: bool = False
    refusal: dict[str, str] | None = None
    orders: list[tuple[str, str, Any]] = field(default_factory=list[tuple[str, str, Any]])
    port: int = 0

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    @contextlib.asynccontextmanager
    async def listening(cls) -> AsyncGenerator["AnsweringPool"]:
        """Run one for a block."""
        pool = cls()
        server = await asyncio.start_server(pool._serve, "127.0.0.1", 0)
        pool.port = server.sockets[0].getsockname()[1]
        try:
            yield pool
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            lines = head.rstrip().split("\r\n")
            method, path, _ = lines[0].split(" ")
            fields = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in lines[1:])
            }
            raw = await reader.readexactly(int(fields.get("content-length", "0")))
            self.orders.append((method, path, json.loads(raw) if raw else None))
            status, body = self._answer(path, fields.get("authorization", ""))
            data = json.dumps(body).encode()
            mark = f"HTTP/1.1 {status} Word\r\nContent-Length: {len(data)}\r\nConnection: close\r\n"
            writer.write(f"{mark}Content-Type: application/json\r\n\r\n".encode() + data)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _answer(self, path: str, bearer: str) -> tuple[int, dict[str, Any]]:
        if bearer != f"Bearer {self.key}":
            return 401, {"error": {"code": "BAD_KEY", "message": "this key is not known here"}}
        if self.refusal is not None:
            return 409, {"error": self.refusal}
        worker = worker_report("wrk_0000000000000000000000person", port=8001)
        if path == "/workers/spawn":
            return 201, worker.model_dump(mode="json")
        self.draining = path == "/drain"
        return 200, {
            "pool_id": "home",
            "version": "0.1.0",
            "session_id": "ses",
            "orchestrator_url": None,
            "orchestrator_connected": True,
            "draining": self.draining,
            "devices": [],
            "workers": [worker.model_dump(mode="json")],
            "models": [],
        }
