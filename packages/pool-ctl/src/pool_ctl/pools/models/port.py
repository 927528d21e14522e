"""What a command asks about the models of a host; the answers are the same with a daemon and without."""

from collections.abc import Callable
from typing import Protocol

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
from pool_ctl.pools.models.cancel import Cancellation

__all__ = ["ModelsPort", "TellBytes", "TellDownload"]

TellDownload = Callable[[DownloadReport], None]
"""Hears how far a download has come."""

TellBytes = Callable[[str, int, int], None]
"""Hears which file is read, how many of its bytes are read, and how many there are."""


class ModelsPort(Protocol):
    """The models of one host; an expected failure is raised as an error of the tree."""

    def models(self) -> list[StoredModel]:
        """What lies on the host whole."""
        ...

    def downloads(self) -> list[DownloadReport]:
        """The downloads that a daemon carries out now; a command's own are not told."""
        ...

    def catalog(self) -> list[CatalogItem]:
        """Every model that is known by name."""
        ...

    def info(self, order: InfoOrder) -> ModelInfo:
        """What is known of a model, and whether it fits."""
        ...

    def usage(self) -> DiskUsage:
        """What the models take up."""
        ...

    def download(
        self, order: DownloadOrder, *, tell: TellDownload, cancel: Cancellation
    ) -> StoredModel:
        """Bring a model to the host; it is there, verified, when this returns."""
        ...

    def leave_download(self, order: DownloadOrder) -> DownloadReport:
        """Have a daemon bring a model, and do not wait for it."""
        ...

    def verify(
        self, order: VerifyOrder, *, tell: TellBytes, cancel: Cancellation
    ) -> list[VerifyReport]:
        """Read every byte of a model, or of all models, again."""
        ...

    def delete(self, order: DeleteOrder) -> DeleteReport:
        """Delete a model, or tell what that would free."""
        ...

    def clean_up(self, order: CleanUpOrder) -> CleanUpReport:
        """Delete what was used longest ago, or tell what that would free."""
        ...

    def take_in(
        self, order: ImportOrder, *, tell: TellBytes, cancel: Cancellation
    ) -> list[StoredModel]:
        """Take files of the host into the store."""
        ...
