"""The models of this host without its daemon: this very process does what a daemon would.

Whoever calls delete or clean_up holds pool.lock meanwhile, so that no worker starts on a model that
goes away; everything else only looks or has locks of its own.
"""

import contextlib
from functools import cached_property
from typing import TypeVar

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
from orchestrator_core.contracts.pool import DeviceReport, WorkerReport, WorkerStatus
from orchestrator_core.errors import Code, Refusal, error_for
from orchestrator_core.platforms import select
from pool_core.catalog.library import Library
from pool_core.workers.host_settings import read_settings
from pool_core.workers.ledger import WorkerRecord
from pool_core.workers.onlooker import Onlooker
from pool_ctl.pools.models.cancel import Cancellation
from pool_ctl.pools.models.port import TellBytes, TellDownload
from pool_ctl.settings import CliSettings

__all__ = ["DirectModels"]

T = TypeVar("T")


class DirectModels:
    """Acts on the store of this installation."""

    def __init__(self, settings: CliSettings) -> None:
        self._layout = settings.layout
        self._env = settings.daemon_env()
        self._onlooker = Onlooker(settings.layout, select.current())

    def models(self) -> list[StoredModel]:
        """What lies in the store, and what comes with llama-orch."""
        return self._library.models(self._workers())

    def downloads(self) -> list[DownloadReport]:
        """None: nobody carries out downloads for others."""
        return []

    def catalog(self) -> list[CatalogItem]:
        """The packaged catalogue and the user's own."""
        return self._library.catalog()

    def info(self, order: InfoOrder) -> ModelInfo:
        """Read the header here or by a range of the hub, and judge the devices."""
        return _accepted(self._library.info(order, self._devices()))

    def usage(self) -> DiskUsage:
        """Look at the store and at its disk."""
        return self._library.usage(self._workers())

    def download(
        self, order: DownloadOrder, *, tell: TellDownload, cancel: Cancellation
    ) -> StoredModel:
        """Bring a model in this process."""
        workers = self._workers()
        return _accepted(self._library.download(order, tell=tell, cancel=cancel, workers=workers))

    def leave_download(self, order: DownloadOrder) -> DownloadReport:
        """Only a daemon goes on when the command has ended."""
        text = (
            f"nobody would go on with {order.model}: start pool-managerd with "
            "llorch-pool daemon start, or leave --detach away"
        )
        raise error_for(Refusal(Code.UNREACHABLE, text))

    def verify(
        self, order: VerifyOrder, *, tell: TellBytes, cancel: Cancellation
    ) -> list[VerifyReport]:
        """Hash the files in this process."""
        return _accepted(self._library.verify(order, tell=tell, cancel=cancel))

    def delete(self, order: DeleteOrder) -> DeleteReport:
        """Delete, unless a worker of this host holds the model."""
        return _accepted(self._library.delete(order, self._workers()))

    def clean_up(self, order: CleanUpOrder) -> CleanUpReport:
        """Delete what nobody holds and nobody has used for long."""
        return _accepted(self._library.clean_up(order, self._workers()))

    def take_in(
        self, order: ImportOrder, *, tell: TellBytes, cancel: Cancellation
    ) -> list[StoredModel]:
        """Take files in from this process."""
        return _accepted(self._library.take_in(order, tell=tell, cancel=cancel))

    @cached_property
    def _library(self) -> Library:
        chosen = read_settings(self._layout, self._env).models_folder
        return Library.open(chosen or self._layout.models_folder, self._layout, self._env)

    def _devices(self) -> list[DeviceReport]:
        # Only one of the acts needs the probes, and they take long to load.
        from pool_core.devices.inventory import open_inventory

        with contextlib.closing(open_inventory()) as inventory:
            return inventory.look()

    def _workers(self) -> list[WorkerReport]:
        records = self._onlooker.records()
        return [_report(record) for record in records if self._onlooker.is_alive(record)]


def _report(record: WorkerRecord) -> WorkerReport:
    """A worker as its record alone shows it: enough to know what it holds."""
    return WorkerReport(
        id=record.id,
        name=record.name,
        incarnation=record.incarnation,
        generation=record.generation,
        owner=record.owner,
        status=WorkerStatus.READY if record.ready_at else WorkerStatus.LOADING,
        model=record.spec.model.model_id,
        task=record.spec.task,
        backend=record.spec.backend,
        spec=record.spec,
        pid=record.pid,
        port=record.port,
        slots_total=record.spec.parallel or 1,
        started_at=record.started_at,
        ready_at=record.ready_at,
    )


def _accepted(answer: T | Refusal) -> T:
    if isinstance(answer, Refusal):
        raise error_for(answer)
    return answer
