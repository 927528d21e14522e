"""Clients that hold streams open by the hundred: they count what comes, or stop reading.

Each is a bare protocol, so that a thousand of them and their worker leave the machine to the
daemon that is tested.
"""

import asyncio
import json
import re
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

__all__ = ["OpenStream", "Tally", "memory_bytes", "open_streams"]

_STAMP: Final = re.compile(rb'"(?:content|t)":"([0-9.]{8,}) ')
_AT_ONCE: Final = 20
_COUNT: Final = re.compile(rb'"i":[0-9]+,"n":([0-9]+)')
_JOB_ID: Final = re.compile(rb'"job_id":"(job_[0-9a-z]+)"')
_USAGE: Final = re.compile(rb'"completion_tokens":([0-9]+)')


@dataclass
class Tally:
    """What the streams of one kind saw during one look; times in seconds."""

    latencies: list[float] = field(default_factory=list)
    tokens: int = 0


class OpenStream(asyncio.Protocol):
    """One stream, of a chat or of a job's events."""

    def __init__(
        self, key: str, prompt: str, *, durable: bool, stalls: bool, tally: Tally | None = None
    ) -> None:
        self._key = key
        self._prompt = prompt
        self._durable = durable
        self._stalls = stalls
        self._head = b""
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self.tally = tally or Tally()
        self._usage = -1
        self.all_tokens = 0
        self.tokens = 0
        self.first_at = 0.0
        self.last_at = 0.0
        self.told_tokens: int | None = None
        self.is_stalled = False
        self.lost = False
        self.open = asyncio.get_running_loop().create_future()
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast("asyncio.Transport", transport)
        if self._durable:
            self._send("POST", "/v2/tasks", {"model": "tiny-chat", "prompt": self._prompt})
            return
        message = {"role": "user", "content": self._prompt}
        body = {
            "model": "tiny-chat",
            "messages": [message],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        self._send("POST", "/v1/chat/completions", body)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever reads must not lose it before the end."""
        self.lost = self.told_tokens is None
        for told in (self.open, self.ended):
            if not told.done():
                told.set_result(None)

    def mark(self) -> None:
        """Begin to measure."""
        self.tokens, self.first_at = 0, 0.0

    @property
    def per_token_s(self) -> float:
        """Time per token since the mark."""
        return (self.last_at - self.first_at) / max(1, self.tokens - 1)

    def close(self) -> None:
        """Leave."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Count tokens; see the end."""
        if self._durable and not self._head:
            self._read_receipt(data)
            return
        now = time.perf_counter()
        data = self._rest + data
        cut = data.rfind(b"\n\n") + 2
        if cut < 2:
            self._rest = data
            return
        data, self._rest = data[:cut], data[cut:]
        self._count(data, now)
        usage = _USAGE.findall(data)
        if usage:
            self._usage = int(usage[-1])
        if b"data: [DONE]" in data or b"event: end" in data:
            self.told_tokens = self._usage
            if not self.ended.done():
                self.ended.set_result(None)

    def _count(self, data: bytes, now: float) -> None:
        stamps = _STAMP.findall(data)
        self.tally.latencies += [now - float(stamp) for stamp in stamps]
        count = sum(map(int, _COUNT.findall(data))) if self._durable else len(stamps)
        if not count:
            return
        self.tally.tokens += count
        self.tokens += count
        self.all_tokens += count
        self.first_at = self.first_at or now
        self.last_at = now
        if not self.open.done():
            self.open.set_result(None)
        if self._stalls and self._transport is not None:
            self.is_stalled = True
            self._transport.pause_reading()

    def _read_receipt(self, data: bytes) -> None:
        self._rest += data
        found = _JOB_ID.search(self._rest)
        if found is None:
            return
        self._head, self._rest = found[1], b""
        self._send("GET", f"/v2/tasks/{found[1].decode()}/events", None)

    def _send(self, method: str, path: str, body: Mapping[str, object] | None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._key}\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        if self._transport is not None:
            self._transport.write(head.encode() + data)


async def open_streams(
    port: int, key: str, prompt: str, count: int, *, durable: bool, stalls: bool, tally: Tally
) -> Sequence[OpenStream]:
    """Open streams, a few at a time, and wait until each has got a token."""
    streams = [
        OpenStream(key, prompt, durable=durable, stalls=stalls, tally=tally) for _ in range(count)
    ]
    for first in range(0, count, _AT_ONCE):
        few = streams[first : first + _AT_ONCE]
        await asyncio.gather(*(_connect(stream, port, stalls=stalls) for stream in few))
    return streams


async def _connect(stream: OpenStream, port: int, *, stalls: bool) -> None:
    connection = socket.socket()
    if stalls:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    await loop.create_connection(lambda: stream, sock=connection)
    await stream.open


def memory_bytes(pid: int) -> int:
    """What a process keeps for itself, swapped out or not."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:  # noqa: PTH123 - read often.
        fields = dict(line.split(":", 1) for line in status if ":" in line)
    return sum(int(fields[name].split()[0]) * 1024 for name in ("RssAnon", "VmSwap"))
