"""What the daemon needs from the parts it drives; pool_core and the clients fit these shapes."""

from collections.abc import Callable, Sequence
from pathlib import Path
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
from orchestrator_core.contracts.pool import (
    DeviceReport,
    Heartbeat,
    HeartbeatReply,
    ModelReport,
    Owner,
    PoolRegister,
    PoolRegistered,
    SpawnRequest,
    WantedSet,
    WorkerReport,
)
from orchestrator_core.errors import Refusal

__all__ = [
    "Cancel",
    "Devices",
    "ModelLibrary",
    "Models",
    "OrchestratorLink",
    "Signal",
    "Tell",
    "Workers",
]

Tell = Callable[[str, int, int], None]
"""Hears what is being worked on, how many bytes are done, and how many there are."""


class Signal(Protocol):
    """Something that happens once and can be waited for."""

    def is_set(self) -> bool:
        """Tell whether it has happened."""
        ...

    async def wait(self) -> object:
        """Return when it has happened."""
        ...


class Workers(Protocol):
    """The supervisor of this host's workers."""

    @property
    def adopted(self) -> Signal:
        """Set when the workers of an earlier daemon have been taken over."""
        ...

    async def run(self) -> None:
        """Own every task of the supervision until cancelled."""
        ...

    async def spawn(self, order: SpawnRequest, owner: Owner) -> WorkerReport | Refusal:
        """Start a worker; returns at once."""
        ...

    async def stop(self, worker: str, *, grace_s: float) -> WorkerReport | Refusal:
        """Stop a worker by id or name; returns when it is gone."""
        ...

    def apply_wanted(self, wanted: WantedSet) -> None:
        """Start what is missing, stop what the orchestrator no longer wants."""
        ...

    def new_session(self) -> None:
        """Forget the highest revision of the earlier session."""
        ...

    def reports(self) -> list[WorkerReport]:
        """All workers, with their keys."""
        ...

    def log_path(self, worker: str) -> Path | None:
        """The log of a worker by id or name, of an ended one by its id."""
        ...


class Models(Protocol):
    """The models that lie on this host."""

    def reports(self) -> list[ModelReport]:
        """All of them."""
        ...


class Cancel(Protocol):
    """Says whether somebody wants an act to stop."""

    def is_set(self) -> bool:
        """True from the moment on that it shall stop."""
        ...


class ModelLibrary(Protocol):
    """All acts on the models of this host. Everything blocks, so it is called in threads."""

    def models(self, workers: Sequence[WorkerReport]) -> list[StoredModel]:
        """What is here."""
        ...

    def catalog(self) -> list[CatalogItem]:
        """What is known by name."""
        ...

    def download(
        self,
        order: DownloadOrder,
        *,
        tell: Callable[[DownloadReport], None],
        cancel: Cancel,
        workers: Sequence[WorkerReport],
    ) -> StoredModel | Refusal:
        """Bring a model here whole and verified."""
        ...

    def info(self, order: InfoOrder, devices: Sequence[DeviceReport]) -> ModelInfo | Refusal:
        """What is known of a model, and on which of the devices it would fit."""
        ...

    def verify(
        self, order: VerifyOrder, *, tell: Tell, cancel: Cancel
    ) -> list[VerifyReport] | Refusal:
        """Read every byte again."""
        ...

    def delete(self, order: DeleteOrder, workers: Sequence[WorkerReport]) -> DeleteReport | Refusal:
        """Delete one model."""
        ...

    def clean_up(
        self, order: CleanUpOrder, workers: Sequence[WorkerReport]
    ) -> CleanUpReport | Refusal:
        """Delete what was used longest ago."""
        ...

    def usage(self, workers: Sequence[WorkerReport]) -> DiskUsage:
        """What everything takes up."""
        ...

    def take_in(
        self, order: ImportOrder, *, tell: Tell, cancel: Cancel
    ) -> list[StoredModel] | Refusal:
        """Take files of this host into the store."""
        ...


class Devices(Protocol):
    """The newest picture of this host's devices."""

    def reports(self) -> list[DeviceReport]:
        """All of them; stale ones are marked."""
        ...


class OrchestratorLink(Protocol):
    """The way to one orchestrator with one key; failures are LlorchErrors."""

    async def register(self, register: PoolRegister) -> PoolRegistered:
        """Open a session."""
        ...

    async def heartbeat(self, beat: Heartbeat) -> HeartbeatReply:
        """Report and learn what is wanted."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...
