"""An event stream as its client reads it: frame by frame, event by event, or what all of it says."""

import asyncio
import json
from typing import Any

import httpx

from orchestrator_core.stream.sse import SseDecoder, SseEvent

__all__ = ["EventStream", "chunks_of", "payload", "said"]

_WAIT_S = 10.0


class EventStream:
    """One open event stream, read event by event; comments count as events named `comment`."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.raw = b""
        self._pieces = response.aiter_raw()
        self._read_to = 0

    async def frame(self) -> bytes:
        """The next whole frame as bytes; empty at the end of the stream."""
        async with asyncio.timeout(_WAIT_S):
            while (end := self.raw.find(b"\n\n", self._read_to)) < 0:
                piece = await anext(self._pieces, b"")
                if not piece:
                    assert self._read_to == len(self.raw), "the stream ended inside an event"
                    return b""
                self.raw += piece
        frame = self.raw[self._read_to : end + 2]
        self._read_to = end + 2
        return frame

    async def next(self) -> SseEvent:
        """The next event; comments are skipped."""
        while True:
            frame = await self.frame()
            assert frame, "the stream ended"
            if found := SseDecoder().feed(frame):
                return found[0]

    async def until_kind(self, kind: str) -> SseEvent:
        """Read on to the first event of this kind."""
        while (found := await self.next()).event != kind:
            pass
        return found

    async def rest(self) -> list[SseEvent]:
        """Every further event to the end of the stream."""
        frames: list[bytes] = []
        while frame := await self.frame():
            frames.append(frame)
        return SseDecoder().feed(b"".join(frames))


async def chunks_of(stream: EventStream) -> list[Any]:
    """Everything that a client of a chat stream sees: parsed chunks and the end mark."""
    found = [told.data for told in await stream.rest()]
    return [data if data == "[DONE]" else json.loads(data) for data in found]


def said(chunks: list[Any]) -> str:
    """The text in the chunks of a chat."""
    parts = [chunk["choices"][0]["delta"].get("content") for chunk in chunks if chunk["choices"]]
    return "".join(part for part in parts if part)


def payload(found: SseEvent) -> dict[str, Any]:
    """The JSON of an event."""
    return json.loads(found.data)
