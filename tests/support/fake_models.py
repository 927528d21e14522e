"""Stands in for the models of a host where a test is about what commands make of them."""

from collections.abc import Callable

from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport, DownloadStage
from orchestrator_core.contracts.model_info import DeviceFit, InfoOrder, ModelInfo
from orchestrator_core.contracts.models import (
    CatalogItem,
    CleanUpOrder,
    CleanUpReport,
    DeleteOrder,
    DeleteReport,
    DiskUsage,
    FileCheck,
    FileState,
    ImportOrder,
    StoredFile,
    StoredModel,
    VerifyOrder,
    VerifyReport,
)
from orchestrator_core.contracts.pool import Backend
from orchestrator_core.errors import Code, Refusal, error_for
from orchestrator_core.units import MIB
from pool_ctl.pools.models.cancel import Cancellation
from pool_ctl.pools.models.port import TellBytes, TellDownload

__all__ = ["FakeHostModels", "make_stored"]


def make_stored(model_id: str = "tiny") -> StoredModel:
    """A model of one file."""
    file = f"{model_id}.gguf"
    return StoredModel(
        id=model_id,
        source="hub",
        repo="org/tiny-GGUF",
        quant="Q8_0",
        architecture="llama",
        trained_ctx=1024,
        files=[StoredFile(file=file, size_bytes=10 * MIB, sha256="ab" * 32, path=f"/s/{file}")],
        size_bytes=10 * MIB,
        added_at="2026-01-02T03:04:05.000Z",
    )


class FakeHostModels:
    """One stored model; every order is kept, and what a test sets is what happens."""

    def __init__(self) -> None:
        self.stored = [make_stored()]
        self.orders: list[object] = []
        self.running: list[DownloadReport] = []
        self.is_damaged = False
        self.while_downloading: Callable[[Cancellation], None] = lambda _cancel: None
        self.fetched_bytes = 10 * MIB
        self.refusal: Refusal | None = None
        self.fits = True

    def models(self) -> list[StoredModel]:
        """What lies here."""
        return self.stored

    def downloads(self) -> list[DownloadReport]:
        """What goes on."""
        return self.running

    def catalog(self) -> list[CatalogItem]:
        """Two known models."""
        facts: dict[str, object] = {
            "name": "Tiny",
            "description": "small",
            "repo": "org/tiny-GGUF",
            "file": "tiny.gguf",
            "quant": "Q8_0",
            "size_bytes": 10 * MIB,
            "license": "mit",
            "trained_ctx": 1024,
        }
        tiny = {"id": "tiny", "aliases": ["small"], "origin": "packaged", "is_here": True}
        own = {"id": "own", "aliases": [], "origin": "user", "is_here": False, "gated": True}
        return [CatalogItem.model_validate({**facts, **more}) for more in (tiny, own)]

    def info(self, order: InfoOrder) -> ModelInfo:
        """Facts, and one processor."""
        self._note(order)
        fit = DeviceFit(
            device_id="cpu-0",
            device_name="Processor",
            backend=Backend.CPU,
            ctx=order.ctx or 1024,
            parallel=order.parallel or 1,
            weights_bytes=10 * MIB,
            kv_bytes=MIB,
            state_bytes=0,
            compute_bytes=MIB,
            overhead_bytes=MIB,
            needed_bytes=14 * MIB,
            free_bytes=100 * MIB if self.fits else MIB,
            total_bytes=200 * MIB,
            fits=self.fits,
            approximate=False,
            reasons=[] if self.fits else ["ctx 64 would fit"],
        )
        return ModelInfo(
            id="tiny",
            model=order.model,
            source="hub",
            is_here=False,
            files=make_stored().files,
            size_bytes=10 * MIB,
            architecture="llama",
            kv_heads=[2, 2],
            header_bytes_read=65536,
            fits=[fit],
        )

    def usage(self) -> DiskUsage:
        """One model and half of another."""
        return DiskUsage(
            folder="/s",
            models=self.stored,
            model_bytes=10 * MIB,
            shared_bytes=0,
            partial_bytes=5 * MIB,
            orphan_bytes=0,
            disk_free_bytes=1000 * MIB,
            disk_total_bytes=2000 * MIB,
        )

    def download(
        self, order: DownloadOrder, *, tell: TellDownload, cancel: Cancellation
    ) -> StoredModel:
        """Half, then whole, unless somebody says the word in between."""
        self._note(order)
        half = self._report(order, DownloadStage.TRANSFERRING, self.fetched_bytes // 2)
        tell(half)
        self.while_downloading(cancel)
        if cancel.is_set():
            raise error_for(Refusal(Code.CANCELLED, "it was cancelled"))
        done = self._report(order, DownloadStage.DONE, self.fetched_bytes)
        tell(done if self.fetched_bytes else done.model_copy(update={"note": "it is here already"}))
        return make_stored(order.model)

    def leave_download(self, order: DownloadOrder) -> DownloadReport:
        """It is queued."""
        self._note(order)
        return self._report(order, DownloadStage.QUEUED, 0)

    def verify(
        self, order: VerifyOrder, *, tell: TellBytes, cancel: Cancellation
    ) -> list[VerifyReport]:
        """One file, as it is set."""
        self._note(order)
        tell("tiny.gguf", 10 * MIB, 10 * MIB)
        state = FileState.DAMAGED if self.is_damaged else FileState.OK
        reason = "its content has changed since it was fetched" if self.is_damaged else None
        check = FileCheck(file="tiny.gguf", state=state, size_bytes=10 * MIB, reason=reason)
        return [VerifyReport(id="tiny", ok=not self.is_damaged, files=[check])]

    def delete(self, order: DeleteOrder) -> DeleteReport:
        """Ten MiB."""
        self._note(order)
        return DeleteReport(
            id="tiny",
            freed_bytes=10 * MIB,
            kept_bytes=0,
            files=["tiny.gguf"],
            dry_run=order.dry_run,
        )

    def clean_up(self, order: CleanUpOrder) -> CleanUpReport:
        """The one model."""
        one = DeleteReport(id="tiny", freed_bytes=10 * MIB, kept_bytes=0, files=["tiny.gguf"])
        self._note(order)
        return CleanUpReport(
            deleted=[one.model_copy(update={"dry_run": order.dry_run})],
            kept={"busy": "worker-cpu-0 holds it"},
            freed_bytes=10 * MIB,
            dry_run=order.dry_run,
        )

    def take_in(
        self, order: ImportOrder, *, tell: TellBytes, cancel: Cancellation
    ) -> list[StoredModel]:
        """One model."""
        self._note(order)
        tell("tiny.gguf", 10 * MIB, 10 * MIB)
        return [make_stored(order.id or "tiny")]

    def _note(self, order: object) -> None:
        self.orders.append(order)
        if self.refusal is not None:
            raise error_for(self.refusal)

    def _report(
        self, order: DownloadOrder, stage: DownloadStage, fetched_bytes: int
    ) -> DownloadReport:
        return DownloadReport(
            id="dl_1",
            model=order.model,
            stage=stage,
            file="tiny.gguf",
            files_total=1,
            done_bytes=fetched_bytes,
            total_bytes=10 * MIB,
            fetched_bytes=fetched_bytes,
        )
