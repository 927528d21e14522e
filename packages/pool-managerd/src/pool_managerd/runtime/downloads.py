"""Owns the downloads of this host: so many at once, one per model, each in a thread of its own.

The library does the work and tells how far it is. What is kept here are the newest reports: of
the downloads that run, and for a while of those that ended. Nothing survives the daemon but the
bytes on disk, from which the next order of the same model goes on.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport, DownloadStage
from orchestrator_core.contracts.models import StoredModel
from orchestrator_core.contracts.pool import WorkerReport
from orchestrator_core.errors import Code, Refusal
from pool_managerd.runtime.crew import Crew, outcome_of
from pool_managerd.runtime.download_ends import last_report
from pool_managerd.runtime.keyring import Caller
from pool_managerd.runtime.latest import Latest
from pool_managerd.runtime.live_workers import LiveWorkers
from pool_managerd.runtime.model_gauges import ENDS, DownloadTally
from pool_managerd.runtime.ports import ModelLibrary

__all__ = ["Downloads", "Ordered"]

_AT_ONCE: Final = 4
_WAITING_MAX: Final = 32
_KEPT_MAX: Final = 100
_KEPT_S: Final = 3600.0
_CANCELLED: Final = "the download was cancelled; what was fetched is kept"

_log: Final = structlog.stdlib.get_logger()


@dataclass(frozen=True, slots=True)
class Ordered:
    """What became of an order: the download that carries it out, perhaps one that ran already."""

    report: DownloadReport
    is_new: bool


class Downloads:
    """The downloads of one daemon; everything here is called on its loop."""

    def __init__(
        self,
        library: ModelLibrary,
        *,
        workers: Callable[[], Sequence[WorkerReport]],
        new_id: Callable[[], str],
        monotonic_s: Callable[[], float],
        on_change: Callable[[], None],
    ) -> None:
        self._library = library
        self._workers = workers
        self._new_id = new_id
        self._monotonic_s = monotonic_s
        self._on_change = on_change
        self._crew = Crew("downloads", size=_AT_ONCE, waiting_max=_WAITING_MAX)
        self._downloads: dict[str, _Download] = {}
        self._ended: Counter[DownloadStage] = Counter()
        self._fetched_bytes = 0
        self._is_stopping = False

    def order(self, order: DownloadOrder, caller: Caller) -> Ordered | Refusal:
        """Begin a download or wait in line; a model that is on its way is not ordered twice."""
        if self._is_stopping:
            return Refusal(Code.DRAINING, "pool-managerd is about to stop; order it again then")
        running = self._underway(order.model)
        if running is not None:
            if caller is Caller.OPERATOR:
                running.ordered_by = caller
            return Ordered(running.news.value, is_new=False)
        download = _Download(self._new_id(), order, caller)
        future = self._crew.start(
            partial(download.bring, self._library),
            on_turn=lambda: download.begin(LiveWorkers(self._workers)),
        )
        if isinstance(future, Refusal):
            return future
        download.future = future
        what = f"the download of {order.model}"
        future.add_done_callback(lambda it: self._end(download, outcome_of(it, what)))
        self._forget_old()
        self._downloads[download.id] = download
        _log.info("download.ordered", id=download.id, model=order.model, by=caller.value)
        return Ordered(download.news.value, is_new=True)

    def reports(self) -> list[DownloadReport]:
        """All that run, and those that ended lately, in the order of their orders."""
        self._forget_old()
        return [download.news.value for download in self._downloads.values()]

    def news(self, download_id: str) -> Latest[DownloadReport] | Refusal:
        """The reports of one download, as they come."""
        download = self._downloads.get(download_id)
        return _unknown(download_id) if download is None else download.news

    def cancel(self, download_id: str, caller: Caller) -> DownloadReport | Refusal:
        """Stop a download; what was fetched is kept. One that has ended stays as it is."""
        download = self._downloads.get(download_id)
        if download is None:
            return _unknown(download_id)
        if caller is not Caller.OPERATOR and download.ordered_by is Caller.OPERATOR:
            text = "a person ordered this download, so only the operator's key may cancel it"
            return Refusal(Code.SCOPE, text)
        if not download.news.is_final:
            download.stop()
            if not download.has_begun:
                self._end(download, Refusal(Code.CANCELLED, _CANCELLED))
        return download.news.value

    def tally(self) -> DownloadTally:
        """What the metrics show."""
        living = [it for it in self._downloads.values() if not it.news.is_final]
        running = sum(it.has_begun for it in living)
        fetched_bytes = self._fetched_bytes + sum(it.news.value.fetched_bytes for it in living)
        ended = {stage: self._ended[stage] for stage in ENDS}
        return DownloadTally(running, len(living) - running, ended, fetched_bytes)

    def begin_stop(self) -> None:
        """Take no more orders and cancel everything; whoever follows hears the last word at once.

        A thread may still finish its file meanwhile: then the next order finds it there.
        """
        self._is_stopping = True
        text = "pool-managerd stopped; what was fetched is kept, so order it again to go on"
        for download in self._downloads.values():
            if not download.news.is_final:
                download.stop()
                self._end(download, Refusal(Code.DRAINING, text))

    async def rest(self, timeout_s: float) -> bool:
        """Wait until no thread is at work; False when one does not heed its cancelling in time."""
        return await self._crew.rest(timeout_s)

    def _underway(self, model: str) -> "_Download | None":
        for it in self._downloads.values():
            is_same = model in (it.order.model, it.news.value.model_id)
            if is_same and not it.news.is_final and not it.cancel.is_set():
                return it
        return None

    def _end(self, download: "_Download", result: StoredModel | Refusal) -> None:
        if download.news.is_final:
            return
        report = last_report(download.own(download.told or download.news.value), result)
        download.ended_s = self._monotonic_s()
        download.news.finish(report)
        self._ended[report.stage] += 1
        self._fetched_bytes += report.fetched_bytes
        _log.info(
            f"download.{report.stage.value}",
            id=report.id,
            model=report.model,
            fetched_bytes=report.fetched_bytes,
            error_code=report.error_code,
            error=report.error_message,
        )
        if report.stage is DownloadStage.DONE:
            self._on_change()

    def _forget_old(self) -> None:
        now_s = self._monotonic_s()
        ended = sorted(
            (it for it in self._downloads.values() if it.ended_s is not None),
            key=lambda it: it.ended_s or 0.0,
            reverse=True,
        )
        for place, download in enumerate(ended):
            if place >= _KEPT_MAX or now_s - (download.ended_s or 0.0) > _KEPT_S:
                del self._downloads[download.id]


class _Download:
    """One order on its way; bring and tell run in the thread, everything else on the loop."""

    def __init__(self, download_id: str, order: DownloadOrder, caller: Caller) -> None:
        self.id = download_id
        self.order = order
        self.ordered_by = caller
        self.cancel = threading.Event()
        self.future: asyncio.Future[StoredModel | Refusal] | None = None
        self.told: DownloadReport | None = None
        self.ended_s: float | None = None
        self.has_begun = False
        self._workers: Sequence[WorkerReport] = ()
        queued = DownloadReport(id=download_id, model=order.model, stage=DownloadStage.QUEUED)
        self.news = Latest(queued)

    def begin(self, workers: Sequence[WorkerReport]) -> None:
        """Its turn has come."""
        self.has_begun, self._workers = True, workers

    def bring(self, library: ModelLibrary) -> StoredModel | Refusal:
        """Do the work."""
        return library.download(
            self.order, tell=self.tell, cancel=self.cancel, workers=self._workers
        )

    def tell(self, report: DownloadReport) -> None:
        """Pass a report on; that it is the last one is said when the thread is done."""
        self.told = report
        if not report.has_ended:
            self.news.post(self.own(report))

    def own(self, report: DownloadReport) -> DownloadReport:
        """A report of the library under the id and the name of the order."""
        return report.model_copy(update={"id": self.id, "model": self.order.model})

    def stop(self) -> None:
        """Ask the thread to stop, or give up the place in the line."""
        self.cancel.set()
        if not self.has_begun and self.future is not None:
            self.future.cancel()
        self.news.put(self.news.value.model_copy(update={"note": "is being cancelled"}))


def _unknown(download_id: str) -> Refusal:
    text = f"no download {download_id[:80]!r} runs here or ended lately; order the model again"
    return Refusal(Code.NOT_FOUND, text)
