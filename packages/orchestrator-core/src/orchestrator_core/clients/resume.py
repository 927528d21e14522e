"""Follows an event stream across cuts: every stored event once, in order, until end or error.

The place is kept by event id. Any byte is progress; after give_up_s without one the last failure
is raised. Time is taken from `time` because a blocking client runs in a command, not in a daemon.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import httpx

from orchestrator_core.clients.http import HttpCaller
from orchestrator_core.clients.replies import refused, unreachable
from orchestrator_core.contracts.tasks import EventKind
from orchestrator_core.errors import Code, LlorchError, PeerError, Refusal
from orchestrator_core.stream.sse import SseDecoder, SseEvent
from orchestrator_core.units import MIB

__all__ = ["Resume", "follow"]

_EVENT_LIMIT_BYTES: Final = 8 * MIB
_STORED_EVENTS: Final = frozenset(kind.value for kind in EventKind)
_LAST_EVENTS: Final = frozenset({EventKind.END.value, EventKind.ERROR.value})


@dataclass(frozen=True, slots=True)
class Resume:
    """How patiently a stream is resumed; silence_s is three times the keep-alive interval."""

    backoff_min_s: float = 0.2
    backoff_max_s: float = 3.0
    give_up_s: float = 30.0
    silence_s: float = 45.0
    monotonic_s: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep


@dataclass(slots=True)
class _Place:
    after: int
    progress_s: float
    backoff_s: float
    ended: bool = False
    failure: LlorchError | None = field(default=None)


def follow(
    caller: HttpCaller,
    path: str,
    *,
    after: int,
    resume: Resume,
    on_cut: Callable[[str], None] | None,
) -> Iterator[SseEvent]:
    """Yield the events behind `after`; events that are not stored (metrics) pass uncounted."""
    place = _Place(after, resume.monotonic_s(), resume.backoff_min_s)
    while True:
        yield from _read_once(caller, path, place, resume)
        if place.ended:
            return
        failure = place.failure or _cut(caller)
        if resume.monotonic_s() - place.progress_s >= resume.give_up_s:
            raise failure
        if on_cut is not None:
            on_cut(failure.refusal.message)
        resume.pause(place.backoff_s)
        place.backoff_s = min(place.backoff_s * 2, resume.backoff_max_s)


def _read_once(caller: HttpCaller, path: str, place: _Place, resume: Resume) -> Iterator[SseEvent]:
    place.failure = None
    headers = {"accept": "text/event-stream", "last-event-id": str(place.after)}
    timeout = httpx.Timeout(resume.silence_s, connect=5.0)
    try:
        with caller.client.stream("GET", path, headers=headers, timeout=timeout) as response:
            if not response.is_success:
                response.read()
                place.failure = _retriable(refused(caller.peer, response))
                return
            decoder = SseDecoder(_EVENT_LIMIT_BYTES)
            for chunk in response.iter_bytes():
                place.progress_s, place.backoff_s = resume.monotonic_s(), resume.backoff_min_s
                yield from _fresh(decoder.feed(chunk), place)
                if place.ended:
                    return
    except httpx.HTTPError as error:
        place.failure = _retriable(unreachable(caller.peer, error))


def _fresh(events: list[SseEvent], place: _Place) -> Iterator[SseEvent]:
    for event in events:
        number = int(event.id) if event.id and event.id.isdecimal() else 0
        if number > place.after:
            place.after = number
        elif event.event in _STORED_EVENTS:
            continue
        # Set before the yield: a caller that stops here has still seen the last event.
        place.ended = event.event in _LAST_EVENTS
        yield event
        if place.ended:
            return


def _retriable(error: LlorchError) -> LlorchError:
    """Raise what waiting cannot cure, and hand back what a restart may."""
    if error.refusal.outcome.retry_later or error.code is Code.TIMEOUT:
        return error
    raise error


def _cut(caller: HttpCaller) -> LlorchError:
    text = f"{caller.peer.name} at {caller.peer.url} closed the stream before its end"
    return PeerError(Refusal(Code.UNREACHABLE, text))
