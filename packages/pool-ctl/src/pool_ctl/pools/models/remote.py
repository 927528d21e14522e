"""The models of a host that is spoken for by its daemon, over HTTP."""

import contextlib
from collections.abc import Generator

from orchestrator_core.clients.pool_models import PoolModels
from orchestrator_core.clients.resume import Resume
from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport
from orchestrator_core.contracts.model_info import InfoOrder, ModelInfo
from orchestrator_core.contracts.models import (
    CatalogItem,
    CleanUpOrder,
    CleanUpReport,
    DeleteOrder,
    DeleteReport,
    DiskUsage,
    ImportOrder,
    StoredModel,
    VerifyOrder,
    VerifyReport,
)
from orchestrator_core.errors import Code, LlorchError, Refusal, error_for
from pool_ctl.pools.models.cancel import Cancellation
from pool_ctl.pools.models.port import TellBytes, TellDownload

__all__ = ["HttpModels"]


class HttpModels:
    """Asks a pool-managerd."""

    def __init__(self, models: PoolModels, resume: Resume | None = None) -> None:
        self._models = models
        self._resume = resume or Resume()

    def models(self) -> list[StoredModel]:
        """What lies on the host."""
        return self._models.models()

    def downloads(self) -> list[DownloadReport]:
        """Those that have not ended."""
        return [report for report in self._models.downloads() if not report.has_ended]

    def catalog(self) -> list[CatalogItem]:
        """What the daemon knows by name."""
        return self._models.catalog()

    def info(self, order: InfoOrder) -> ModelInfo:
        """What the daemon knows of a model."""
        return self._models.info(order)

    def usage(self) -> DiskUsage:
        """What the daemon's store takes up."""
        return self._models.usage()

    def download(
        self, order: DownloadOrder, *, tell: TellDownload, cancel: Cancellation
    ) -> StoredModel:
        """Order a model and follow the daemon until it is there."""
        started = self._models.download(order)
        cancel.when_set(lambda: self._cancel(started.id))
        last = started
        tell(started)
        for report in self._models.follow_download(started.id, resume=self._resume):
            last = report
            tell(report)
        if last.result is None:
            raise error_for(_reason(last))
        return last.result

    def leave_download(self, order: DownloadOrder) -> DownloadReport:
        """Order a model and leave it to the daemon."""
        return self._models.download(order)

    def verify(
        self, order: VerifyOrder, *, tell: TellBytes, cancel: Cancellation
    ) -> list[VerifyReport]:
        """Let the daemon read; it stops when we leave."""
        with _until(cancel):
            return self._models.verify(order, tell=tell, on_open=cancel.when_set)

    def delete(self, order: DeleteOrder) -> DeleteReport:
        """Let the daemon delete."""
        return self._models.delete(order)

    def clean_up(self, order: CleanUpOrder) -> CleanUpReport:
        """Let the daemon clean up."""
        return self._models.clean_up(order)

    def take_in(
        self, order: ImportOrder, *, tell: TellBytes, cancel: Cancellation
    ) -> list[StoredModel]:
        """Let the daemon take files of its host in; it stops when we leave."""
        with _until(cancel):
            return self._models.take_in(order, tell=tell, on_open=cancel.when_set)

    def _cancel(self, download_id: str) -> None:
        # A daemon that does not hear it any more has no download to cancel either.
        with contextlib.suppress(LlorchError):
            self._models.cancel_download(download_id)


@contextlib.contextmanager
def _until(cancel: Cancellation) -> Generator[None]:
    """Whatever an act fails with after it was cancelled, it failed because we left."""
    try:
        yield
    except LlorchError as error:
        if not cancel.is_set():
            raise
        raise error_for(Refusal(Code.CANCELLED, "it was cancelled")) from error


def _reason(report: DownloadReport) -> Refusal:
    text = report.error_message or f"the download of {report.model} is {report.stage.value}"
    try:
        return Refusal(Code(report.error_code or Code.INTERNAL), text)
    except ValueError:
        return Refusal(Code.INTERNAL, text)
