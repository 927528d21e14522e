"""Carries out one long act of a daemon: progress while it goes on, then its answer or a refusal.

The act lives as long as the stream: a caller that leaves ends it, so nothing here is resumed.
"""

import contextlib
import socket
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar, cast

import httpx
from pydantic import BaseModel, ValidationError

from orchestrator_core.clients.http import HttpCaller
from orchestrator_core.clients.replies import Peer, refused, unreachable
from orchestrator_core.contracts.control import ErrorEnvelope
from orchestrator_core.contracts.models import ActProgress
from orchestrator_core.errors import Code, LlorchError, PeerError, Refusal, error_for
from orchestrator_core.stream.sse import SseDecoder, SseEvent
from orchestrator_core.units import MIB

__all__ = ["OnOpen", "Tell", "carry_out"]

M = TypeVar("M", bound=BaseModel)
Tell = Callable[[str, int, int], None]
"""Hears what is being worked on, how many bytes are done, and how many there are."""

OnOpen = Callable[[Callable[[], None]], None]
"""Gets what ends the act at once, from any thread."""

# A thousand models of a hundred parts each are told in less.
_EVENT_LIMIT_BYTES: Final = 64 * MIB
# Three times the interval of the daemon's comments: a longer silence is a dead connection.
_SILENCE_S: Final = 45.0
_CONNECT_TIMEOUT_S: Final = 5.0


def carry_out(
    caller: HttpCaller,
    path: str,
    order: BaseModel,
    *,
    reply: type[M],
    tell: Tell | None = None,
    on_open: OnOpen | None = None,
) -> M:
    """Order an act and wait for its end; an error of the tree when it is refused or cut short."""
    timeout = httpx.Timeout(_SILENCE_S, connect=_CONNECT_TIMEOUT_S)
    headers = {"accept": "text/event-stream", "content-type": "application/json"}
    body = order.model_dump_json(exclude_none=True).encode()
    request = caller.client.stream("POST", path, content=body, headers=headers, timeout=timeout)
    try:
        with request as response:
            if not response.is_success:
                response.read()
                raise refused(caller.peer, response)
            if on_open is not None:
                on_open(partial(_hang_up, response))
            answer = _answer(caller.peer, response, tell)
    except httpx.HTTPError as error:
        raise unreachable(caller.peer, error) from error
    return _read(caller.peer, path, answer, reply)


def _hang_up(response: httpx.Response) -> None:
    """Wake the reader, in whatever thread it waits for a word: it finds the connection ended."""
    stream = response.extensions["network_stream"]
    found = cast("object", stream.get_extra_info("socket"))
    if isinstance(found, socket.socket):
        # It may have ended by itself meanwhile.
        with contextlib.suppress(OSError):
            found.shutdown(socket.SHUT_RDWR)


def _answer(peer: Peer, response: httpx.Response, tell: Tell | None) -> str:
    decoder = SseDecoder(_EVENT_LIMIT_BYTES)
    for chunk in response.iter_bytes():
        for event in decoder.feed(chunk):
            match event.event:
                case "end":
                    return event.data
                case "error":
                    raise _refusal(peer, event)
                case "progress" if tell is not None:
                    news = _read(peer, response.url.path, event.data, ActProgress)
                    tell(news.what, news.done_bytes, news.total_bytes)
                case _:
                    # A newer daemon may say more than we understand.
                    continue
    text = f"{peer.name} at {peer.url} broke off before the end; repeat the command"
    raise PeerError(Refusal(Code.UNREACHABLE, text))


def _refusal(peer: Peer, event: SseEvent) -> LlorchError:
    try:
        body = ErrorEnvelope.model_validate_json(event.data).error
    except ValidationError:
        text = f"{peer.name} at {peer.url} failed without a reason"
        return PeerError(Refusal(Code.INTERNAL, text))
    try:
        code = Code(body.code)
    except ValueError:
        return PeerError(Refusal(Code.INTERNAL, f"{peer.name} failed: {body.code}: {body.message}"))
    return error_for(Refusal(code, body.message, body.details or {}))


def _read(peer: Peer, path: str, data: str, model: type[M]) -> M:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        place = error.errors(include_url=False)[0]["loc"]
        where = ".".join(str(part) for part in place) or "the event"
        text = f"{peer.url} does not answer like {peer.name}: {where} of {path}"
        raise PeerError(Refusal(Code.INTERNAL, text)) from error
