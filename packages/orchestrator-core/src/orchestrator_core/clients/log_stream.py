"""Reads a worker's log as its pool streams it: one line per event until the pool says the end."""

from collections.abc import Iterator
from typing import Final

import httpx

from orchestrator_core.clients.http import HttpCaller
from orchestrator_core.clients.replies import refused, unreachable
from orchestrator_core.contracts.base import Fact
from orchestrator_core.errors import Code, PeerError, Refusal
from orchestrator_core.stream.sse import SseDecoder, SseEvent
from orchestrator_core.units import MIB

__all__ = ["log_lines"]

# Three times the interval of the pool's comments: a longer silence is a dead connection.
_SILENCE_S: Final = 45.0
_CONNECT_TIMEOUT_S: Final = 5.0
_END: Final = "end"
_LINE: Final = "log"


class _LogLine(Fact):
    line: str


def log_lines(caller: HttpCaller, path: str, *, tail: int, follow: bool) -> Iterator[str]:
    """Yield line after line; an error of the tree when the stream is refused or cut short."""
    query = {"tail": tail, "follow": int(follow)}
    timeout = httpx.Timeout(_SILENCE_S, connect=_CONNECT_TIMEOUT_S)
    headers = {"accept": "text/event-stream"}
    request = caller.client.stream("GET", path, params=query, headers=headers, timeout=timeout)
    try:
        with request as response:
            if not response.is_success:
                response.read()
                raise refused(caller.peer, response)
            decoder = SseDecoder(MIB)
            for chunk in response.iter_bytes():
                for event in decoder.feed(chunk):
                    if event.event == _END:
                        return
                    yield from _line_of(event)
    except httpx.HTTPError as error:
        raise unreachable(caller.peer, error) from error
    text = f"{caller.peer.name} at {caller.peer.url} closed the log before its end"
    raise PeerError(Refusal(Code.UNREACHABLE, text))


def _line_of(event: SseEvent) -> Iterator[str]:
    if event.event == _LINE:
        yield _LogLine.model_validate_json(event.data).line
