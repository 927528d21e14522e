"""A worker without a model: speaks llama-server's chat stream over HTTP/1.1, paced by one timer.

All streams say the same token, made anew each second as an engine stamps its events, so that it
costs next to nothing beside the proxy that is measured.
"""

import asyncio
import json
import re
import time
from dataclasses import dataclass
from typing import Final, cast

__all__ = ["EVENT_BYTES", "Pace", "Worker"]

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nServer: llama.cpp\r\nAccess-Control-Allow-Origin: \r\n"
    b"X-Accel-Buffering: no\r\nContent-Type: text/event-stream\r\n"
    b"Transfer-Encoding: chunked\r\n%s\r\n"
)
_CLOSE: Final = b"Connection: close\r\n"
_TICK_S: Final = 0.001


def _event(choices: list[object], created: int = 1795262726, **more: object) -> bytes:
    body: dict[str, object] = {
        "choices": choices,
        "created": created,
        "id": "chatcmpl-5DmRRn6zMyB5OwBMKz4lMk7zzQhPGxBG",
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


_ROLE: Final = _choice({"role": "assistant", "content": None})
_STEP: Final = {"total": 64, "cache": 0, "processed": 64, "time_ms": 1}
_USAGE: Final = {"completion_tokens": 1, "prompt_tokens": 64, "total_tokens": 65}
_TIMINGS: Final = {"prompt_n": 64, "prompt_ms": 1.5, "predicted_n": 1, "predicted_ms": 2.5}
_PREFILL: Final = _framed(_event(_ROLE, prompt_progress=_STEP))
_OPENING: Final = _framed(_event(_ROLE))
EVENT_BYTES: Final = len(_event(_choice({"content": " am"})))
_END: Final = b"".join(
    (
        _framed(_event(_choice({}, "stop"))),
        _framed(_event([], usage=_USAGE, timings=_TIMINGS)),
        _framed(b"data: [DONE]\n\n"),
        b"0\r\n\r\n",
    )
)
_WHOLE: Final = json.dumps(
    {
        "choices": [{"index": 0, "message": {"role": "assistant", "content": " am"}}],
        "created": 1795262726,
        "id": "chatcmpl-5DmRRn6zMyB5OwBMKz4lMk7zzQhPGxBG",
        "model": "tiny-chat",
        "object": "chat.completion",
        "usage": _USAGE,
    }
).encode()


@dataclass(frozen=True)
class Pace:
    """What an answer looks like; with no tokens it opens and then stays silent."""

    interval_ms: int = 0
    tokens: int = 1


class Worker:
    """Listens on a free port; the pace counts for answers that begin from now on."""

    def __init__(self) -> None:
        self.pace = Pace()
        self.port = 0
        self.left_early = 0
        self.answering = 0
        self.token = b""
        self._wheel: list[list[Answer]] = [[]]
        self._tick = 0
        self._due = 0.0

    async def listen(self) -> None:
        """Begin to listen and to tick."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Answer(self), "127.0.0.1", 0, backlog=2048)
        self.port = int(server.sockets[0].getsockname()[1])
        self._due = loop.time()
        self._stamp()
        self._turn()

    def set_pace(self, pace: Pace) -> None:
        """Change the pace between two measurements; answers that still run are forgotten."""
        self.pace = pace
        self._wheel = [[] for _ in range(max(1, pace.interval_ms))]

    def enrol(self, answer: "Answer") -> None:
        """Give an answer its place on the wheel: its next token comes after one whole turn."""
        self._wheel[self._tick % len(self._wheel)].append(answer)

    def _stamp(self) -> None:
        self.token = _framed(_event(_choice({"content": " am"}), created=int(time.time())))
        asyncio.get_running_loop().call_later(1.0, self._stamp)

    def _turn(self) -> None:
        # A late turn is made up for once, never in bursts: the pace is the offer's upper limit.
        loop = asyncio.get_running_loop()
        late = int((loop.time() - self._due) / _TICK_S)
        for _ in range(min(late, len(self._wheel)) or 1):
            self._tick += 1
            spoke = self._wheel[self._tick % len(self._wheel)]
            spoke[:] = [answer for answer in spoke if answer.speak()]
        self._due = max(self._due + _TICK_S, loop.time())
        loop.call_at(self._due, self._turn)


class Answer(asyncio.Protocol):
    """One connection; a client that keeps it open may ask again."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._asked = b""
        self._left = 0
        self._last = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Note when the client left before its end."""
        self._transport = None
        if self._left:
            self._left = 0
            self._worker.answering -= 1
            self._worker.left_early += 1

    def data_received(self, data: bytes) -> None:
        """Answer as soon as the request is whole."""
        self._asked += data
        end = self._asked.find(b"\r\n\r\n")
        if end < 0:
            return
        if self._asked.startswith(b"GET /slots "):
            self._tell_slots()
            return
        length = _LENGTH.search(self._asked, 0, end + 2)
        if length is None or len(self._asked) < end + 4 + int(length[1]):
            return
        asked, self._asked = self._asked, b""
        self._last = b"onnection: close" in asked[:end]
        if b'"stream":true' in asked[end:]:
            self._open_stream()
        else:
            self._give_whole()

    def speak(self) -> bool:
        """Say one token; False when there is nothing left to say."""
        if self._transport is None or self._left <= 0:
            return False
        self._transport.write(self._worker.token)
        self._left -= 1
        if self._left:
            return True
        self._end()
        return False

    def _tell_slots(self) -> None:
        slots = [{"id": number, "is_processing": True} for number in range(self._worker.answering)]
        body = json.dumps([*slots, {"id": len(slots), "is_processing": False}]).encode()
        if self._transport is not None:
            head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
            self._transport.write(head % len(body) + body)
            self._transport.close()

    def _open_stream(self) -> None:
        if self._transport is None:
            return
        pace, worker = self._worker.pace, self._worker
        self._left = pace.tokens or -1
        worker.answering += 1
        head = _STREAM_HEAD % (_CLOSE if self._last else b"")
        self._transport.write(head + _PREFILL)
        if not pace.tokens:
            self._transport.write(_OPENING + self._worker.token)
            return
        # The first token comes after the prompt's progress and in a read of its own.
        asyncio.get_running_loop().call_soon(self._first)

    def _first(self) -> None:
        if self._transport is None:
            return
        self._transport.write(_OPENING)
        if self.speak():
            self._worker.enrol(self)

    def _end(self) -> None:
        self._worker.answering -= 1
        if self._transport is not None:
            self._transport.write(_END)
            if self._last:
                self._transport.close()

    def _give_whole(self) -> None:
        if self._transport is None:
            return
        close = _CLOSE if self._last else b""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n"
        self._transport.write(head % (close, len(_WHOLE)) + _WHOLE)
        if self._last:
            self._transport.close()
