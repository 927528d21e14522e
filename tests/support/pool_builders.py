"""Small makers of the records that pool_core decides about."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator_core.contracts.pool import (
    Backend,
    DeviceReport,
    ModelFile,
    Owner,
    WorkerSpec,
)
from orchestrator_core.platforms.port import ExitWatch, PortHolder, ProcessIdentity
from pool_core.workers.charge import Charge
from pool_core.workers.ledger import WorkerRecord

__all__ = ["StillPlatform", "charge", "cpu", "gpu", "record", "spec", "worker_id", "write_tree"]


def worker_id(number: int) -> str:
    """A well-formed id."""
    return f"wrk_{number:026d}"


def spec(**changes: Any) -> WorkerSpec:
    """A worker for tiny-chat."""
    model = ModelFile(model_id="tiny-chat", source="builtin", file="tiny-chat.gguf")
    return WorkerSpec(**{"model": model, "ctx": 1024, "parallel": 1, **changes})


def cpu(**changes: Any) -> DeviceReport:
    """The CPU of a small host."""
    facts: dict[str, Any] = {
        "id": "cpu",
        "index": 0,
        "kind": "cpu",
        "name": "Test CPU",
        "backends": [Backend.CPU],
        "memory_total_bytes": 8 << 30,
        "memory_free_bytes": 4 << 30,
        "cores": 4,
    }
    return DeviceReport(**facts | changes)


def gpu(index: int) -> DeviceReport:
    """A CUDA device."""
    return cpu(id=f"GPU-{index}", index=index, kind="gpu", backends=[Backend.CUDA], cores=None)


def record(number: int = 1, **changes: Any) -> WorkerRecord:
    """What the ledger keeps of a worker."""
    facts: dict[str, Any] = {
        "id": worker_id(number),
        "name": "worker-cpu-0",
        "owner": Owner.ORCHESTRATOR,
        "generation": 1,
        "incarnation": 1,
        "spec": spec(),
        "port": 8000 + number,
        "started_at": "2026-01-01T00:00:00.000Z",
        "started_unix_ms": 1_767_225_600_000,
    }
    facts |= changes
    return WorkerRecord(**{"order": facts["spec"], **facts})


def charge(number: int = 1, **changes: Any) -> Charge:
    """A starting worker."""
    return Charge(record(number, **changes), "a-key-of-this-test")


class StillPlatform:
    """A host on which nothing happens: every process is another's and signals go nowhere."""

    def __init__(self, alive: dict[int, ProcessIdentity] | None = None) -> None:
        self.alive = alive or {}
        self.signalled: list[tuple[int, int]] = []

    def identify(self, pid: int) -> ProcessIdentity | None:
        """Name a process of the given ones."""
        return self.alive.get(pid)

    def is_alive(self, identity: ProcessIdentity) -> bool:
        """True for the given ones."""
        return self.alive.get(identity.pid) == identity

    def signal_if_same(self, identity: ProcessIdentity, signum: int) -> bool:
        """Note the signal."""
        self.signalled.append((identity.pid, signum))
        return True

    def signal_session(self, identity: ProcessIdentity, signum: int) -> bool:
        """Note the signal."""
        self.signalled.append((identity.pid, signum))
        return True

    def watch_exit(self, identity: ProcessIdentity, callback: object) -> ExitWatch:
        """Nothing here ever ends."""
        raise AssertionError(f"nobody may watch {identity} or call {callback}")

    def port_holder(self, port: int, *, likely: int | None = None) -> PortHolder | None:
        """Nobody listens."""
        assert port > 0

    @property
    def system(self) -> str:
        """No system at all."""
        return "still"

    def environment(self, pid: int) -> Mapping[str, str]:
        """Nobody was started by us."""
        assert pid > 0
        return {}

    def continuous_s(self) -> float:
        """Time stands still."""
        return 0.0

    def session_of(self, pid: int) -> int | None:
        """Everyone leads a session."""
        return pid if pid in self.alive else None


def write_tree(root: Path, files: dict[str, str]) -> Path:
    """Lay out a fake /proc and /sys."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root
