"""What the daemon needs from the parts it drives; pool_core and the clients fit these shapes."""

from pathlib import Path
from typing import Protocol

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

__all__ = ["Devices", "Models", "OrchestratorLink", "Signal", "Workers"]


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
