"""Follows a download of a pool across cuts until its last report.

A report says everything about its moment, so after a cut the next one is enough: nothing is
counted or replayed. Any byte is progress; after give_up_s without one the last failure is raised.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import httpx
from pydantic import ValidationError

from orchestrator_core.clients.http import HttpCaller
from orchestrator_core.clients.replies import refused, unreachable
from orchestrator_core.clients.resume import Resume
from orchestrator_core.contracts.downloads import DownloadReport
from orchestrator_core.errors import Code, LlorchError, PeerError, Refusal
from orchestrator_core.stream.sse import SseDecoder, SseEvent
from orchestrator_core.units import MIB

__all__ = ["follow_reports"]

_PROGRESS: Final = "progress"
_END: Final = "end"
_CONNECT_TIMEOUT_S: Final = 5.0


@dataclass(slots=True)
class _Patience:
    progress_s: float
    backoff_s: float


def follow_reports(
    caller: HttpCaller,
    path: str,
    *,
    resume: Resume,
    on_cut: Callable[[str], None] | None,
) -> Iterator[DownloadReport]:
    """Yield report after report; the one that has ended is the last."""
    patience = _Patience(resume.monotonic_s(), resume.backoff_min_s)
    last: DownloadReport | None = None
    while True:
        try:
            for report in _read_once(caller, path, patience, resume):
                if report != last:
                    yield report
                last = report
                if report.has_ended:
                    return
            failure = _cut(caller)
        except httpx.HTTPError as error:
            failure = unreachable(caller.peer, error)
        except LlorchError as error:
            failure = error
        _give_up_on(failure, patience, resume)
        if on_cut is not None:
            on_cut(failure.refusal.message)
        resume.pause(patience.backoff_s)
        patience.backoff_s = min(patience.backoff_s * 2, resume.backoff_max_s)


def _read_once(
    caller: HttpCaller, path: str, patience: _Patience, resume: Resume
) -> Iterator[DownloadReport]:
    timeout = httpx.Timeout(resume.silence_s, connect=_CONNECT_TIMEOUT_S)
    headers = {"accept": "text/event-stream"}
    with caller.client.stream("GET", path, headers=headers, timeout=timeout) as response:
        if not response.is_success:
            response.read()
            raise refused(caller.peer, response)
        decoder = SseDecoder(MIB)
        for chunk in response.iter_bytes():
            patience.progress_s, patience.backoff_s = resume.monotonic_s(), resume.backoff_min_s
            for event in decoder.feed(chunk):
                if event.event in (_PROGRESS, _END):
                    yield _report(caller, event)


def _report(caller: HttpCaller, event: SseEvent) -> DownloadReport:
    try:
        return DownloadReport.model_validate_json(event.data)
    except ValidationError as error:
        place = error.errors(include_url=False)[0]["loc"]
        where = ".".join(str(part) for part in place) or "the event"
        text = f"{caller.peer.url} does not answer like {caller.peer.name}: {where} of a download"
        raise PeerError(Refusal(Code.INTERNAL, text)) from error


def _give_up_on(failure: LlorchError, patience: _Patience, resume: Resume) -> None:
    """Raise what waiting cannot cure, and at last also what a restart might have."""
    may_pass = failure.refusal.outcome.retry_later or failure.code is Code.TIMEOUT
    if not may_pass or resume.monotonic_s() - patience.progress_s >= resume.give_up_s:
        raise failure


def _cut(caller: HttpCaller) -> LlorchError:
    text = f"{caller.peer.name} at {caller.peer.url} closed the stream before its end"
    return PeerError(Refusal(Code.UNREACHABLE, text))
