"""Stands in for the models of a host: every act waits until the test lets it go on."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, cast

from orchestrator_core.contracts.downloads import DownloadOrder, DownloadReport, DownloadStage
from orchestrator_core.contracts.model_info import InfoOrder, ModelInfo
from orchestrator_core.contracts.models import (
    CatalogItem,
    CleanUpOrder,
    CleanUpReport,
    DeleteOrder,
    DeleteReport,
    DiskUsage,
    ImportOrder,
    StoredFile,
    StoredModel,
    VerifyOrder,
    VerifyReport,
)
from orchestrator_core.contracts.pool import DeviceReport, WorkerReport
from orchestrator_core.errors import Code, Refusal
from pool_managerd.runtime.ports import Cancel, Tell

__all__ = ["FakeLibrary", "Transfer", "stored"]

T = TypeVar("T")

_PATIENCE_S = 20.0


def stored(model_id: str = "tiny-llama", size_bytes: int = 1000) -> StoredModel:
    """A model of one file."""
    file = StoredFile(
        file=f"{model_id}.gguf",
        size_bytes=size_bytes,
        sha256="0" * 64,
        path=f"/models/{model_id}.gguf",
    )
    return StoredModel(id=model_id, source="hub", files=[file], size_bytes=size_bytes)


class Transfer:
    """One download, import or verification that has begun; the test says how it goes on."""

    def __init__(self, model: str, cancel: Cancel, workers: Sequence[WorkerReport]) -> None:
        self.model = model
        self.cancel = cancel
        self.workers = workers
        self.thread = threading.current_thread()
        self.result: object = None
        self._may_end = threading.Event()
        self.tell: Callable[[DownloadReport], None] = lambda _report: None
        self.say: Tell = lambda _what, _done, _total: None

    def report(self, done_bytes: int, *, stage: DownloadStage = DownloadStage.TRANSFERRING) -> None:
        """Tell how far it is, of a thousand bytes."""
        self.tell(
            DownloadReport(
                model="the library's own word",
                model_id=f"{self.model}-id",
                stage=stage,
                files_total=1,
                done_bytes=done_bytes,
                total_bytes=1000,
                fetched_bytes=done_bytes,
            )
        )

    def end(self, result: object) -> None:
        """Let it end: a value is returned, an exception raised."""
        self.result = result
        self._may_end.set()

    def wait(self) -> object:
        """What the library does meanwhile; it heeds a cancelling as the real one does."""
        while not self._may_end.wait(0.005):
            if self.cancel.is_set():
                return Refusal(Code.CANCELLED, "stopped; what was fetched is kept")
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@dataclass
class FakeLibrary:
    """Answers at once what the test has put in, and keeps long acts until it says their end."""

    here: list[StoredModel] = field(default_factory=list[StoredModel])
    answer: object = None
    calls: list[tuple[str, object]] = field(default_factory=list[tuple[str, object]])
    running: list[Transfer] = field(default_factory=list[Transfer])
    waits: bool = True
    """False: long acts end at once with the answer."""

    def __post_init__(self) -> None:
        self._begun = threading.Condition()

    def next(self, count: int = 1) -> Transfer:
        """Wait in a thread until so many long acts have begun; the newest of them."""
        with self._begun:
            assert self._begun.wait_for(lambda: len(self.running) >= count, _PATIENCE_S)
            return self.running[count - 1]

    def models(self, workers: Sequence[WorkerReport]) -> list[StoredModel]:
        """What the test has put here."""
        self.calls.append(("models", tuple(workers)))
        return self._answered(self.here)

    def catalog(self) -> list[CatalogItem]:
        """One entry."""
        item = CatalogItem(
            id="tiny-llama", name="Tiny", description="small", aliases=[], repo="org/tiny",
            file="tiny.gguf", quant="Q4_0", size_bytes=1000, license="mit", trained_ctx=2048,
            origin="packaged", is_here=False,
        )  # fmt: skip
        return self._answered([item])

    def info(self, order: InfoOrder, devices: Sequence[DeviceReport]) -> ModelInfo | Refusal:
        """What little is known."""
        self.calls.append(("info", (order, tuple(device.id for device in devices))))
        info = ModelInfo(id=order.model, model=order.model, source="hub", is_here=False, files=[])
        return self._answered(info)

    def delete(self, order: DeleteOrder, workers: Sequence[WorkerReport]) -> DeleteReport | Refusal:
        """Delete on paper."""
        self.calls.append(("delete", (order, tuple(worker.id for worker in workers))))
        report = DeleteReport(id=order.model, freed_bytes=1000, kept_bytes=0, files=["tiny.gguf"])
        return self._answered(report)

    def clean_up(
        self, order: CleanUpOrder, workers: Sequence[WorkerReport]
    ) -> CleanUpReport | Refusal:
        """Keep everything."""
        self.calls.append(("clean_up", (order, tuple(worker.id for worker in workers))))
        return self._answered(CleanUpReport(deleted=[], kept={"tiny": "in use"}, freed_bytes=0))

    def usage(self, workers: Sequence[WorkerReport]) -> DiskUsage:
        """An empty folder."""
        self.calls.append(("usage", tuple(workers)))
        usage = DiskUsage(
            folder="/models", models=[], model_bytes=0, shared_bytes=0, partial_bytes=0,
            orphan_bytes=0, disk_free_bytes=5, disk_total_bytes=9,
        )  # fmt: skip
        return self._answered(usage)

    def download(
        self,
        order: DownloadOrder,
        *,
        tell: Callable[[DownloadReport], None],
        cancel: Cancel,
        workers: Sequence[WorkerReport],
    ) -> StoredModel | Refusal:
        """Bring a model as the test says."""
        self.calls.append(("download", order))
        act = Transfer(order.model, cancel, workers)
        act.tell = tell
        return self._hold(act, stored(order.model))

    def verify(
        self, order: VerifyOrder, *, tell: Tell, cancel: Cancel
    ) -> list[VerifyReport] | Refusal:
        """Read as the test says."""
        self.calls.append(("verify", order))
        act = Transfer(order.model or "all", cancel, ())
        act.say = tell
        return self._hold(act, [VerifyReport(id=act.model, ok=True, files=[])])

    def take_in(
        self, order: ImportOrder, *, tell: Tell, cancel: Cancel
    ) -> list[StoredModel] | Refusal:
        """Take in as the test says."""
        self.calls.append(("take_in", order))
        act = Transfer(order.path or "the hub's cache", cancel, ())
        act.say = tell
        return self._hold(act, [stored()])

    def _hold(self, act: Transfer, usual: T) -> T:
        with self._begun:
            self.running.append(act)
            self._begun.notify_all()
        if not self.waits:
            return self._answered(usual)
        return cast("T", act.wait())

    def _answered(self, usual: T) -> T:
        if isinstance(self.answer, Exception):
            raise self.answer
        return usual if self.answer is None else cast("T", self.answer)
