"""Calls of /v1 between the jobs of a drill: what such a call was told, nothing can tell again.

A call is put once. What it brought is noted, with whether the daemon died meanwhile: then its
connection may break anywhere, and at no other time.
"""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from support.history import Call, Frame, History
from support.home import Home

__all__ = ["CallReader", "Caller"]

# Longer than the daemon waits for a worker before it gives a call up that is not streamed.
_TIMEOUT_S = 90.0
_STREAMED, _STOPPED, _LEFT = 0.75, 0.2, 0.1
# Words that no answer says: with them no other worker may go on with it.
_STOP_WORD = "XYZZY"


@dataclass
class CallReader:
    """Takes a chat stream apart and notes in its call what is wrong with the form of it."""

    call: Call
    _rest: bytes = field(default=b"", init=False)
    _ids: set[str] = field(default_factory=set[str], init=False)

    def read(self, piece: bytes) -> None:
        """Take what one read of the connection brought."""
        *whole, self._rest = (self._rest + piece).split(b"\n\n")
        for raw in whole:
            if (frame := Frame.read(raw)) is not None:
                self._take(frame.data)

    def close(self) -> None:
        """The connection ended in order."""
        if not self.call.end:
            self.call.end = "unfinished"
        if self._rest:
            self.call.oddities.append(f"ends with {self._rest!r}")

    def _take(self, data: str) -> None:
        call = self.call
        if call.end:
            call.oddities.append(f"after its end: {data}")
        elif data == "[DONE]":
            call.end = "whole"
        elif "error" in (body := json.loads(data)):
            call.end, call.code = "error", body["error"]["code"]
        else:
            self._ids.add(body["id"])
            if len(self._ids) > 1:
                call.oddities.append(f"has several ids: {', '.join(sorted(self._ids))}")
            for choice in body["choices"]:
                self._take_choice(choice)

    def _take_choice(self, choice: Mapping[str, Any]) -> None:
        call, words = self.call, choice["delta"].get("content") or ""
        if call.finish and (words or choice.get("finish_reason")):
            call.oddities.append(f"after {call.finish}: {json.dumps(choice)}")
        call.text += words
        call.finish = choice.get("finish_reason") or call.finish


@dataclass
class Caller:
    """Puts chat calls, one at a time, by the dice of its client."""

    home: Home
    history: History
    http: httpx.AsyncClient
    dice: random.Random

    async def ask(self, prompt: str) -> None:
        """Put one call and note all that it brings."""
        call = Call(
            prompt=prompt,
            stream=self.dice.random() < _STREAMED,
            has_stop=self.dice.random() < _STOPPED,
        )
        leaves_after = self.dice.randint(1, 20) if self.dice.random() < _LEFT else None
        self.history.calls.append(call)
        deaths = self.history.deaths
        try:
            await self._put(call, leaves_after)
        except httpx.TransportError as problem:
            call.end, call.code = "cut", type(problem).__name__
        # Odd while the daemon is away: then as well as while it died it can have said no more.
        call.excused = deaths % 2 == 1 or self.history.deaths != deaths

    async def _put(self, call: Call, leaves_after: int | None) -> None:
        body: dict[str, object] = {
            "model": "tiny-chat",
            "messages": [{"role": "user", "content": call.prompt}],
            "temperature": 0,
            "stream": call.stream,
        }
        if call.has_stop:
            body["stop"] = [_STOP_WORD]
        url = f"{self.home.url}/v1/chat/completions"
        headers = {"Authorization": f"Bearer {self.home.key}"}
        async with self.http.stream(
            "POST", url, json=body, headers=headers, timeout=_TIMEOUT_S
        ) as reply:
            call.job_id = reply.headers.get("x-job-id", "")
            if not reply.is_success:
                refusal = json.loads(await reply.aread())["error"]
                call.end, call.code = f"refused {reply.status_code}", refusal["code"]
            elif call.stream:
                await self._follow(call, reply, leaves_after)
            else:
                (choice,) = json.loads(await reply.aread())["choices"]
                call.text, call.finish = choice["message"]["content"], choice["finish_reason"]
                call.end = "whole"

    async def _follow(self, call: Call, reply: httpx.Response, leaves_after: int | None) -> None:
        reader, pieces = CallReader(call), 0
        async for piece in reply.aiter_raw():
            reader.read(piece)
            pieces += 1
            if pieces == leaves_after and not call.end:
                call.end = "left"
                return
        reader.close()
