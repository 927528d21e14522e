"""Clients in a closed loop: each asks again as soon as its answer has ended, and stamps what comes.

They read just enough of an answer to know its tokens, its end and whether it is a good one.
"""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

__all__ = ["Caller", "Chat", "Client", "Job", "Stamps", "closed_loop", "request"]

_TOKEN: Final = b'"content":"'
_JOB_ID: Final = re.compile(rb'"job_id":"(job_[0-9a-z]+)"')
_LENGTH: Final = re.compile(rb"content-length: *([0-9]+)", re.IGNORECASE)


def request(method: str, path: str, key: str, body: bytes = b"") -> bytes:
    """Write a request that keeps its connection."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "User-Agent: bench",
        f"Authorization: Bearer {key}",
    ]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@dataclass
class Stamps:
    """What the clients of one measurement saw; times in seconds."""

    tokens: int = 0
    reads: int = 0
    answers: int = 0
    errors: list[str] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)

    def reset(self) -> None:
        """Forget what came while the load was built up."""
        self.__init__()


class Client(asyncio.Protocol):
    """One connection that asks for as long as it is left open."""

    def __init__(self, stamps: Stamps, ask: bytes) -> None:
        self.stamps = stamps
        self.ask = ask
        self.asked_at = 0.0
        self.closing = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the first time."""
        self.transport = cast("asyncio.Transport", transport)
        self.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """A connection that was not ours to lose is an error."""
        if not self.closing:
            self.stamps.errors.append(f"connection lost: {exc}")

    def begin(self) -> None:
        """Ask."""
        self.asked_at = time.perf_counter()
        if self.transport is not None:
            self.transport.write(self.ask)

    def over(self) -> None:
        """One answer is whole: go on with the next."""
        self.stamps.answers += 1
        self.stamps.took.append(time.perf_counter() - self.asked_at)
        self.begin()

    def fail(self, data: bytes) -> None:
        """Note a bad answer; the connection asks no more."""
        self.stamps.errors.append(repr(data[:200]))
        self.close()

    def close(self) -> None:
        """Leave."""
        self.closing = True
        if self.transport is not None:
            self.transport.abort()


class Chat(Client):
    """Asks for streamed chats and stamps every read that brings tokens."""

    def __init__(self, stamps: Stamps, ask: bytes, tokens: int) -> None:
        super().__init__(stamps, ask)
        self._wanted = tokens
        self._rest = b""
        self._got = 0
        self._last_at = 0.0
        self._done = False

    def data_received(self, data: bytes) -> None:
        """Count tokens, look for the end."""
        now = time.perf_counter()
        if not data.endswith(b"\r\n") or self._rest:
            data = self._whole_lines(data)
        count = data.count(_TOKEN)
        if count:
            stamps = self.stamps
            if self._got:
                stamps.between.append(now - self._last_at)
            else:
                self._check(data)
                stamps.first.append(now - self.asked_at)
            self._last_at = now
            self._got += count
            stamps.tokens += count
            stamps.reads += 1
        if self._got >= self._wanted or not count:
            self._look_for_end(data)

    def _whole_lines(self, data: bytes) -> bytes:
        data = self._rest + data
        cut = data.rfind(b"\r\n") + 2
        self._rest = data[cut:] if cut > 1 else data
        return data[:cut] if cut > 1 else b""

    def _check(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1") and not data.startswith(b"HTTP/1.1 200"):
            self.fail(data)

    def _look_for_end(self, data: bytes) -> None:
        self._done = self._done or b"data: [DONE]" in data
        if self._done and data.endswith(b"0\r\n\r\n"):
            if self._got != self._wanted:
                self.fail(b"%d tokens: %s" % (self._got, data))
                return
            self._got, self._done = 0, False
            self.over()
        elif data.startswith(b"HTTP/1.1") and not data.startswith(b"HTTP/1.1 200"):
            self.fail(data)


class Caller(Client):
    """Asks for answers in one piece."""

    def __init__(self, stamps: Stamps, ask: bytes) -> None:
        super().__init__(stamps, ask)
        self._got = b""

    def data_received(self, data: bytes) -> None:
        """Collect up to the declared length."""
        self._got += data
        body = whole_body(self._got)
        if body is None:
            return
        got, self._got = self._got, b""
        if got.startswith(b"HTTP/1.1 200") and _TOKEN in body.replace(b": ", b":"):
            self.over()
        else:
            self.fail(got)


class Job(Client):
    """Queues durable jobs and reads the events of each to its end."""

    def __init__(self, stamps: Stamps, ask: bytes, key: str) -> None:
        super().__init__(stamps, ask)
        self._key = key
        self._got = b""
        self._reading = False

    def data_received(self, data: bytes) -> None:
        """Go from the receipt to the events, and from their end to the next job."""
        self._got += data
        if self._reading:
            self._read_events()
        elif (body := whole_body(self._got)) is not None:
            found = _JOB_ID.search(body)
            got, self._got = self._got, b""
            if found is None or self.transport is None:
                self.fail(got)
                return
            self._reading = True
            self.stamps.first.append(time.perf_counter() - self.asked_at)
            path = f"/v2/tasks/{found[1].decode()}/events"
            self.transport.write(request("GET", path, self._key))

    def _read_events(self) -> None:
        if not self._got.endswith(b"0\r\n\r\n"):
            return
        got, self._got, self._reading = self._got, b"", False
        if b"event: end\n" in got:
            self.over()
        else:
            self.fail(got)


def whole_body(got: bytes) -> bytes | None:
    """The body once it is all there."""
    end = got.find(b"\r\n\r\n")
    if end < 0:
        return None
    length = _LENGTH.search(got, 0, end)
    body = got[end + 4 :]
    return body if length is not None and len(body) >= int(length[1]) else None


async def closed_loop(
    port: int, make: Callable[[], Client], count: int, spread_s: float
) -> Sequence[Client]:
    """Open the connections evenly over a while, so that their answers do not march in step."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    clients: list[Client] = []
    for number in range(count):
        pause_s = began + spread_s * number / count - loop.time()
        if pause_s > 0.001:
            await asyncio.sleep(pause_s)
        _, client = await loop.create_connection(make, "127.0.0.1", port)
        clients.append(client)
    return clients
