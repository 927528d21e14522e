"""Goes on after cuts: with an event stream, each stored event once, and with calls made twice.

The place is kept by event id. Any byte is progress; after give_up_s without one the last failure
is raised. Time is taken from `time` because a blocking client runs in a command, not in a daemon.
"""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar, cast

import httpx

from orchestrator_core.clients.http import HttpCaller
from orchestrator_core.clients.replies import refused, unreachable
from orchestrator_core.contracts.tasks import EventKind
from orchestrator_core.errors import Code, LlorchError, PeerError, Refusal
from orchestrator_core.stream.sse import SseDecoder, SseEvent
from orchestrator_core.units import MIB

__all__ = ["GAP_EVENT", "Resume", "follow", "repeat_lost"]

T = TypeVar("T")

GAP_EVENT: Final = "gap"
"""Not stored: it names the events that retention has deleted in front of the next one."""

_EVENT_LIMIT_BYTES: Final = 8 * MIB
_STORED_EVENTS: Final = frozenset(kind.value for kind in EventKind)
_LAST_EVENTS: Final = frozenset({EventKind.END.value, EventKind.ERROR.value})
# What a daemon that starts again answers, or what the lack of one looks like.
_PASSING: Final = frozenset({Code.UNREACHABLE, Code.TIMEOUT, Code.DRAINING})


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
    empty: bool = False
    failure: LlorchError | None = field(default=None)


def _never() -> bool:
    return False


def follow(
    caller: HttpCaller,
    path: str,
    *,
    after: int,
    resume: Resume,
    on_cut: Callable[[str], None] | None,
    is_over: Callable[[], bool] = _never,
    on_quiet: Callable[[], None] | None = None,
) -> Iterator[SseEvent]:
    """Yield the events behind `after`; events that are not stored (metrics) pass uncounted.

    `is_over` is asked when a stream closes without any event: `after` may be the last event's id.
    `on_quiet` is called when bytes come without an event: the daemon keeps alive what waits.
    """
    place = _Place(after, resume.monotonic_s(), resume.backoff_min_s)
    over = False
    while True:
        yield from _read_once(caller, path, place, resume, on_quiet)
        if place.ended or (over and place.empty):
            return
        # The end may have come between the stream and the question: only a second look tells.
        over = place.empty and is_over()
        if over:
            continue
        failure = place.failure or _cut(caller)
        if resume.monotonic_s() - place.progress_s >= resume.give_up_s:
            raise failure
        if on_cut is not None:
            on_cut(failure.refusal.message)
        resume.pause(place.backoff_s)
        place.backoff_s = min(place.backoff_s * 2, resume.backoff_max_s)


def repeat_lost(
    call: Callable[[], T], *, resume: Resume, on_cut: Callable[[str], None] | None = None
) -> T:
    """Make a call that may be made twice, and repeat it while its answer is lost on the way.

    A daemon that does not listen at the first try is told at once: nothing has been cut.
    """
    give_up_s = resume.monotonic_s() + resume.give_up_s
    backoff_s, lost = resume.backoff_min_s, False
    while True:
        try:
            return call()
        except LlorchError as error:
            lost = lost or _is_cut(error)
            if not lost or error.code not in _PASSING or resume.monotonic_s() >= give_up_s:
                raise
            reason = error.refusal.message
        if on_cut is not None:
            on_cut(reason)
        resume.pause(backoff_s)
        backoff_s = min(backoff_s * 2, resume.backoff_max_s)


def _is_cut(error: LlorchError) -> bool:
    cause = error.__cause__
    return isinstance(cause, httpx.TransportError) and not isinstance(
        cause, httpx.ConnectError | httpx.ConnectTimeout | httpx.UnsupportedProtocol
    )


def _read_once(
    caller: HttpCaller,
    path: str,
    place: _Place,
    resume: Resume,
    on_quiet: Callable[[], None] | None,
) -> Iterator[SseEvent]:
    place.failure, place.empty = None, False
    headers = {"accept": "text/event-stream", "last-event-id": str(place.after)}
    timeout = httpx.Timeout(resume.silence_s, connect=5.0)
    try:
        with caller.client.stream("GET", path, headers=headers, timeout=timeout) as response:
            if not response.is_success:
                response.read()
                place.failure = _retriable(refused(caller.peer, response))
                return
            decoder = SseDecoder(_EVENT_LIMIT_BYTES)
            empty = True
            for chunk in response.iter_bytes():
                place.progress_s = resume.monotonic_s()
                events = decoder.feed(chunk)
                if events:
                    # A comment alone is no reason to hurry: it may be all that each try gets.
                    place.backoff_s, empty = resume.backoff_min_s, False
                    yield from _fresh(events, place)
                elif on_quiet is not None:
                    on_quiet()
                if place.ended:
                    return
            place.empty = empty
    except httpx.HTTPError as error:
        place.failure = _retriable(unreachable(caller.peer, error))


def _fresh(events: list[SseEvent], place: _Place) -> Iterator[SseEvent]:
    for event in events:
        if event.event == GAP_EVENT:
            if _passes_gap(event, place):
                yield event
            continue
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


def _passes_gap(event: SseEvent, place: _Place) -> bool:
    """Move behind a gap; one that a cut made the daemon tell again is not told twice."""
    try:
        told: object = json.loads(event.data)
    except ValueError:
        return True
    last = cast("dict[str, object]", told).get("to") if isinstance(told, dict) else None
    if not isinstance(last, int):
        return True
    passes = last > place.after
    place.after = max(place.after, last)
    return passes


def _retriable(error: LlorchError) -> LlorchError:
    """Raise what waiting cannot cure, and hand back what a restart may."""
    if error.refusal.outcome.retry_later or error.code is Code.TIMEOUT:
        return error
    raise error


def _cut(caller: HttpCaller) -> LlorchError:
    text = f"{caller.peer.name} at {caller.peer.url} closed the stream before its end"
    return PeerError(Refusal(Code.UNREACHABLE, text))
