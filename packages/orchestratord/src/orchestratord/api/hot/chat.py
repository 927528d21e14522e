"""POST /v1/chat/completions: admits the call, then sends what its flow brings until it ends.

Beside it somebody watches whether the client is still there; no token needs a task.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from orchestrator_core.contracts.openai import REFUSED_FIELDS, ChatRequest
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.scheduler.events import CancelRequested
from orchestrator_core.units import KIB
from orchestratord.api.request import JSON, Request, header
from orchestratord.runtime.loop import Loop
from orchestratord.serving.admission.classes import read_class
from orchestratord.serving.admission.records import Envelope
from orchestratord.serving.answers.chat_call import ChatCall
from orchestratord.serving.answers.head_start import Aside, Step
from orchestratord.serving.answers.open_calls import OpenCalls
from orchestratord.serving.answers.patience import run_out
from orchestratord.serving.gate import Gate

__all__ = ["ChatHandler"]

_STREAM_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)
_ENDS_WITH_BYTES: Final = 4 * KIB


class _Visit:
    """One client at the door: who watches whether it is still there, and what it has got."""

    __slots__ = ("_watcher", "call", "patience")

    def __init__(self) -> None:
        self.patience = asyncio.timeout(None)
        self.call: ChatCall | None = None
        self._watcher: Aside | None = None

    def watch(self, goodbye: Step, left: Callable[[], None]) -> None:
        """Tell once when the client has left."""
        self._watcher = Aside(goodbye, left)

    def close(self) -> None:
        """Watch no more."""
        if self._watcher is not None:
            self._watcher.close()


class ChatHandler:
    """The OpenAI chat route."""

    def __init__(
        self, *, gate: Gate, loop: Loop, open_calls: OpenCalls, headers_after_s: float
    ) -> None:
        self._gate = gate
        self._loop = loop
        self._open_calls = open_calls
        self._headers_after_s = headers_after_s

    async def __call__(self, request: Request) -> None:
        """Serve one call."""
        visit = _Visit()
        try:
            async with visit.patience:
                call = await self._admit(request, visit)
                if isinstance(call, Refusal):
                    await request.refuse(call)
                    return
                visit.call = call
                self._open_calls.add(call, visit.patience)
                await self._answer(request, call)
        except TimeoutError:
            # The client left before it had a place, or the sweeper lost patience with it.
            if not visit.patience.expired():
                raise
        finally:
            visit.close()
            if visit.call is not None:
                self._open_calls.drop(visit.call)
                self._leave(visit.call)

    async def _admit(self, request: Request, visit: "_Visit") -> ChatCall | Refusal:
        # Apart, so that the parsed body is not kept for as long as the answer takes.
        asked = read_class(header(request.scope, b"x-llorch-priority"))
        if isinstance(asked, Refusal):
            return asked
        chat = await request.parsed(ChatRequest, refused=REFUSED_FIELDS)
        if isinstance(chat, Refusal):
            return chat
        # Its body is read: whatever comes from the client now is its goodbye.
        visit.watch(request.disconnected(), lambda: self._left(visit))
        return await self._gate.admit_chat(
            request.holder, chat, Envelope(request.size_bytes, asked)
        )

    def _left(self, visit: "_Visit") -> None:
        if visit.call is None:
            run_out(visit.patience)
        else:
            self._leave(visit.call)

    def _leave(self, call: ChatCall) -> None:
        call.flow.discard()
        if call.record.finish is None:
            self._loop.post(CancelRequested(at=self._loop.now(), job_id=call.id))

    async def _answer(self, request: Request, call: ChatCall) -> None:
        if call.options.stream:
            await self._stream(request, call)
            return
        while not call.flow.ended:
            await call.flow.wait()
        body = call.flow.take(self._loop.now())
        if body:
            await request.reply(200, body, (JSON, *_job_header(call)))
        else:
            await request.refuse(_why(call))

    async def _stream(self, request: Request, call: ChatCall) -> None:
        flow, now = call.flow, self._loop.now
        await self._head_time(call)
        if flow.ended and not flow.waiting_bytes:
            await request.refuse(_why(call))
            return
        flow.head_sent = True
        headers = (*_STREAM_HEADERS, *_job_header(call))
        await request.reply(200, flow.take(now()), headers, more=True)
        flow.sent(now())
        await _pour(request, call, now)

    async def _head_time(self, call: ChatCall) -> None:
        """Wait for the first byte or the bad end, but not long: the client wants its head."""
        try:
            async with asyncio.timeout(self._headers_after_s):
                await call.flow.wait()
        except TimeoutError:
            return


async def _pour(request: Request, call: ChatCall, now: Callable[[], float]) -> None:
    flow, send = call.flow, request.send

    async def send_piece(data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})

    flow.send_by(send_piece)
    is_last = False
    while not is_last:
        await flow.wait()
        data = flow.take(now())
        # The end goes with the last bytes, unless they are many: then it waits for the client.
        all_taken = flow.ended and not flow.waiting_bytes
        is_last = not data or (all_taken and len(data) <= _ENDS_WITH_BYTES)
        await send({"type": "http.response.body", "body": data, "more_body": not is_last})
        flow.sent(now())


def _job_header(call: ChatCall) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"x-job-id", call.id.encode()),)


def _why(call: ChatCall) -> Refusal:
    return call.flow.refusal or Refusal(Code.CANCELLED, "the call was cancelled")
