"""A worker without a model that says one token to every open answer at a steady pace.

It runs in the loop of its caller and stamps each token with the time, so that whoever reads it in
the same process knows how long it was on its way. It says little in a read, or much, as the prompt
asks: whoever is told much and reads nothing is soon full.
"""

import asyncio
import json
import re
import time
from typing import Any, Final, cast

__all__ = ["LOUD", "SHRILL", "PacedWorker"]

LOUD: Final = "speak up"
SHRILL: Final = "shout"
_FILLER: Final = {LOUD: 4096, SHRILL: 32768}
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_GROUPS: Final = 16


def _event(choices: list[object], **more: object) -> bytes:
    body: dict[str, Any] = {
        "choices": choices,
        "created": 1_700_000_000,
        "id": "chatcmpl-of-the-paced-worker",
        "model": "tiny-chat",
        "system_fingerprint": "b0-unknown",
        "object": "chat.completion.chunk",
        **more,
    }
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def _choice(delta: dict[str, object], reason: str | None = None) -> list[object]:
    return [{"finish_reason": reason, "index": 0, "delta": delta}]


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _token(size: int) -> bytes:
    return _framed(_event(_choice({"content": f"{time.perf_counter():.6f} " + "x" * size})))


class PacedWorker:
    """Listens on a free port; every answer goes on until it is told to end."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._groups: list[set[_Answer]] = [set() for _ in range(_GROUPS)]
        self._turns = 0
        self._next = 0.0
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.left_early = 0
        self.slots_asked = 0

    @property
    def answering(self) -> int:
        """Open answers."""
        return sum(map(len, self._groups))

    async def listen(self) -> int:
        """Begin; returns the port."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Answer(self), "127.0.0.1", 0, backlog=2048)
        self._next = loop.time()
        self._turn()
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop at once."""
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._server.close()
        for group in self._groups:
            for answer in list(group):
                answer.drop()

    def end_all(self) -> None:
        """Give every answer its good end."""
        for group in self._groups:
            for answer in list(group):
                answer.end()
            group.clear()

    def enrol(self, answer: "_Answer") -> None:
        """Let an answer speak at once, and from then on with the smallest group."""
        min(self._groups, key=len).add(answer)
        asyncio.get_running_loop().call_soon(answer.say, _token(answer.filler))

    def leave(self, answer: "_Answer") -> None:
        """Its client is gone."""
        for group in self._groups:
            if answer in group:
                group.discard(answer)
                self.left_early += 1

    def _turn(self) -> None:
        loop = asyncio.get_running_loop()
        group = self._groups[self._turns % _GROUPS]
        self._turns += 1
        said = {size: _token(size) for size in {answer.filler for answer in group}}
        for answer in list(group):
            answer.say(said[answer.filler])
        self._next = max(self._next + self._interval_s / _GROUPS, loop.time())
        self._timer = loop.call_at(self._next, self._turn)


class _Answer(asyncio.Protocol):
    """One connection with one question."""

    def __init__(self, worker: PacedWorker) -> None:
        self._worker = worker
        self._asked = b""
        self._transport: asyncio.Transport | None = None
        self._held_back = False
        self.filler = 0
        self.said = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Its client has left, or has its end."""
        self._transport = None
        self._worker.leave(self)

    def pause_writing(self) -> None:
        """An engine waits for a client that holds it back."""
        self._held_back = True

    def resume_writing(self) -> None:
        """It may speak again."""
        self._held_back = False

    def data_received(self, data: bytes) -> None:
        """Answer as soon as the question is whole."""
        self._asked += data
        end = self._asked.find(b"\r\n\r\n")
        if end < 0 or self._transport is None:
            return
        if self._asked.startswith(b"GET /slots "):
            self._tell_slots()
            return
        length = _LENGTH.search(self._asked, 0, end + 2)
        if length is None or len(self._asked) < end + 4 + int(length[1]):
            return
        self.filler = next(
            (size for word, size in _FILLER.items() if word.encode() in self._asked), 0
        )
        self._asked = b""
        opening = _event(_choice({"role": "assistant", "content": None}))
        self._transport.write(_HEAD + _framed(opening))
        self._worker.enrol(self)

    def say(self, token: bytes) -> None:
        """Say one token, unless the client takes none."""
        if self._transport is not None and not self._held_back:
            self._transport.write(token)
            self.said += 1

    def end(self) -> None:
        """End well; the usage tells how much was said."""
        if self._transport is None:
            return
        usage = {"completion_tokens": self.said, "prompt_tokens": 5, "total_tokens": 5 + self.said}
        last = _event(_choice({}, "stop")) + _event([], usage=usage) + b"data: [DONE]\n\n"
        self._transport.write(_framed(last) + b"0\r\n\r\n")
        self._transport.close()

    def drop(self) -> None:
        """Go without a word."""
        if self._transport is not None:
            self._transport.abort()

    def _tell_slots(self) -> None:
        self._worker.slots_asked += 1
        slots = [{"id": n, "is_processing": True} for n in range(self._worker.answering)]
        body = json.dumps([*slots, {"id": len(slots), "is_processing": False}]).encode()
        if self._transport is not None:
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            self._transport.write(head % len(body) + body)
            self._transport.close()
