"""Downloads: order, list, follow, cancel. One model is on its way once, whoever orders it."""

from collections.abc import AsyncIterator

from fastapi import Request
from starlette.responses import Response

from orchestrator_core.contracts.downloads import DownloadList, DownloadOrder, DownloadReport
from orchestrator_core.errors import Code, Refusal
from pool_managerd.api.callers import caller_of, refuse_reference
from pool_managerd.api.discretion import report_for
from pool_managerd.api.event_streams import EventStreams, event, words_of
from pool_managerd.api.replies import refused, reply
from pool_managerd.runtime.keyring import Caller
from pool_managerd.runtime.latest import Latest
from pool_managerd.runtime.pool import Pool

__all__ = ["DownloadsApi"]


class DownloadsApi:
    """Answers about the downloads of this host."""

    def __init__(self, pool: Pool) -> None:
        self._downloads = pool.downloads
        self._streams = EventStreams("downloads")

    async def order(self, request: Request, order: DownloadOrder) -> Response:
        """Begin a download: 202 and its first report, or 200 and the one that runs already."""
        caller = caller_of(request)
        refusal = refuse_reference(caller, order.model) or _refuse_deletion(caller, order)
        if refusal is not None:
            return refused(refusal)
        ordered = self._downloads.order(order, caller)
        if isinstance(ordered, Refusal):
            return refused(ordered)
        return reply(report_for(caller, ordered.report), 202 if ordered.is_new else 200)

    async def list_downloads(self, request: Request) -> Response:
        """List those that run and those that ended lately."""
        caller = caller_of(request)
        items = [report_for(caller, report) for report in self._downloads.reports()]
        return reply(DownloadList(items=items))

    async def report(self, request: Request, download: str) -> Response:
        """Say how far one is."""
        news = self._downloads.news(download)
        if isinstance(news, Refusal):
            return refused(news)
        return reply(report_for(caller_of(request), news.value))

    async def events(self, request: Request, download: str) -> Response:
        """Follow one to its end: `progress` with the newest report, `end` with the last."""
        news = self._streams.refusal or self._downloads.news(download)
        if isinstance(news, Refusal):
            return refused(news)
        return self._streams.answer(_words(news, caller_of(request)))

    async def cancel(self, request: Request, download: str) -> Response:
        """Cancel one; what was fetched is kept, and doing it twice is no mistake."""
        caller = caller_of(request)
        report = self._downloads.cancel(download, caller)
        if isinstance(report, Refusal):
            return refused(report)
        return reply(report_for(caller, report))


async def _words(news: Latest[DownloadReport], caller: Caller) -> AsyncIterator[bytes]:
    async for piece in words_of(news, lambda report: event("progress", report)):
        yield piece
    yield event("end", report_for(caller, news.value))


def _refuse_deletion(caller: Caller, order: DownloadOrder) -> Refusal | None:
    if caller is Caller.OPERATOR or not order.make_room:
        return None
    text = "only the operator's key of this pool may let models be deleted to make room"
    return Refusal(Code.SCOPE, text, {"field": "make_room"})
