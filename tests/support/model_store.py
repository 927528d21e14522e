"""A store of models in a temporary folder, with a disk and clock that tests set."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from orchestrator_core.clock import rfc3339
from orchestrator_core.config.layout import Layout
from orchestrator_core.contracts.downloads import DownloadReport
from orchestrator_core.contracts.pool import (
    Backend,
    ModelFile,
    Owner,
    Peer,
    WorkerReport,
    WorkerSpec,
    WorkerStatus,
)
from orchestrator_core.contracts.tasks import TaskKind
from orchestrator_core.units import GIB
from pool_core.catalog.library import Library
from pool_core.catalog.surroundings import Surroundings
from pool_core.fetch.room import Reserve
from pool_core.fetch.settings import PeerTimes
from support.fake_hub import FakeHub
from support.gguf_files import DEFAULT_TENSORS, Tensor, Value, gguf_bytes

__all__ = [
    "Bench",
    "Calendar",
    "Disk",
    "Never",
    "Told",
    "quiet",
    "small_model",
    "split_model",
    "worker_on",
]

_START_MS = 1_900_000_000_000


class Never:
    """Nobody wants an act to stop."""

    def is_set(self) -> bool:
        """Never."""
        return False


@dataclass
class Calendar:
    """A clock whose days pass when a test says so."""

    now_ms: int = _START_MS

    def unix_ms(self) -> int:
        """The date."""
        return self.now_ms

    def monotonic_s(self) -> float:
        """Real seconds: whoever waits for another download must see time go by."""
        return time.monotonic()

    def pass_s(self, seconds: float) -> None:
        """Let time go by."""
        self.now_ms += round(seconds * 1000)

    def spelled(self) -> str:
        """The date as records spell it."""
        return rfc3339(self.now_ms)


@dataclass
class Disk:
    """How much is free."""

    bytes_free: int = 100 * GIB

    def free_bytes(self, folder: Path) -> int:
        """The same everywhere."""
        assert folder.is_absolute()
        return self.bytes_free


@dataclass
class Told:
    """Everything that a download has told."""

    reports: list[DownloadReport] = field(default_factory=list[DownloadReport])
    on_report: Callable[[DownloadReport], None] | None = None

    def __call__(self, report: DownloadReport) -> None:
        self.reports.append(report)
        if self.on_report is not None:
            self.on_report(report)

    @property
    def last(self) -> DownloadReport:
        """What was told at the end."""
        return self.reports[-1]

    @property
    def notes(self) -> list[str]:
        """What a person was told beside the numbers."""
        return [report.note for report in self.reports if report.note is not None]


class Bench:
    """A library in a folder of its own, towards a fake hub or towards none."""

    def __init__(
        self,
        folder: Path,
        hub: FakeHub | None = None,
        *,
        env: Mapping[str, str] | None = None,
        catalog: str | None = None,
    ) -> None:
        self.folder = folder
        self.clock = Calendar()
        self.disk = Disk()
        self.said: list[str] = []
        self.peers: list[Peer] = []
        self.on_pause: Callable[[], object] = lambda: None
        self.cache = folder / "hf" / "hub"
        home = {"LLORCH_HOME": str(folder / "home"), "HOME": str(folder)}
        endpoint = hub.url if hub is not None else "http://127.0.0.1:1"
        self.env = {**home, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "hf"), **(env or {})}
        self.layout = Layout.from_env(self.env)
        if catalog is not None:
            self.layout.config.mkdir(parents=True)
            self.layout.user_catalog.write_text(catalog, "utf-8")
        self.library = self.open()

    @property
    def store(self) -> Path:
        """The folder of the models."""
        return self.layout.models_folder

    def open(self) -> Library:
        """Another library on the same folder, as another process would open it."""
        around = Surroundings(
            self.env,
            clock=self.clock,
            reserve=Reserve(min_bytes=0, share=0.0),
            free_bytes=self.disk.free_bytes,
            pause=self._pause,
            peers=lambda: self.peers,
            peer_times=PeerTimes(
                read_s=0.5, round_s=0.05, away_s=0.2, beat_s=1.0, busy_beside_hub_s=0.2
            ),
        )
        return Library.open(self.store, self.layout, self.env, say=self.said.append, around=around)

    def _pause(self, seconds: float) -> None:
        self.on_pause()
        Event().wait(seconds)

    def blob(self, sha256: str) -> Path:
        """Where a content lies."""
        return self.store / "blobs" / sha256


def quiet(what: str, done_bytes: int, total_bytes: int) -> None:
    """Hears how an act goes and says nothing of it."""
    assert what
    assert 0 <= done_bytes <= total_bytes


def small_model(
    name: str = "Small", *, extra_bytes: int = 0, values: Mapping[str, Value] | None = None
) -> bytes:
    """The bytes of a GGUF file that can be read but not run; other names make other bytes."""
    rows = max(1, extra_bytes // 256)
    tensors = (*DEFAULT_TENSORS, Tensor("output.weight", (64, rows)))
    return gguf_bytes(values={"general.name": name, **(values or {})}, tensors=tensors)


def split_model(stem: str, count: int, name: str = "Split") -> dict[str, bytes]:
    """The files of a split model by their names."""
    return {
        f"{stem}-{number + 1:05d}-of-{count:05d}.gguf": small_model(
            name, values={"split.no": number, "split.count": count}
        )
        for number in range(count)
    }


def worker_on(model: ModelFile, name: str = "cpu-1", **fields: object) -> WorkerReport:
    """A worker that runs from a model."""
    known: dict[str, object] = {
        "id": "wrk_01jd0000000000000000000000",
        "name": name,
        "owner": Owner.OPERATOR,
        "status": WorkerStatus.READY,
        "model": model.model_id,
        "task": TaskKind.GENERATE,
        "backend": Backend.CPU,
        "spec": WorkerSpec(model=model),
        "slots_total": 1,
        "started_at": rfc3339(_START_MS),
        "pid": 4711,
    }
    return WorkerReport.model_validate(known | fields)
