"""Turns what the pool reports into rows: plain values for scripts, columns for people."""

from typing import TYPE_CHECKING, Final

from orchestrator_core.console.render import Column
from orchestrator_core.units import format_bytes

if TYPE_CHECKING:
    from orchestrator_core.contracts.pool import DeviceReport, WorkerReport

__all__ = [
    "DEVICE_COLUMNS",
    "SPAWN_COLUMNS",
    "WORKER_COLUMNS",
    "device_row",
    "worker_row",
]


def _size(value: object) -> str:
    return format_bytes(value) if isinstance(value, int) else "-"


WORKER_COLUMNS: Final = (
    Column("name", "Name"),
    Column("id", "Id"),
    Column("status", "Status"),
    Column("model", "Model"),
    Column("backend", "Backend"),
    Column("slots_total", "Slots", right=True),
    Column("pid", "Pid", right=True),
    Column("port", "Port", right=True),
    Column("memory_bytes", "Memory", right=True, show=_size),
    Column("owner", "Owner"),
    Column("error_message", "Error"),
)

SPAWN_COLUMNS: Final = (
    Column("name", "Name"),
    Column("id", "Id"),
    Column("status", "Status"),
    Column("model", "Model"),
    Column("pid", "Pid"),
    Column("port", "Port"),
)

DEVICE_COLUMNS: Final = (
    Column("kind", "Kind"),
    Column("index", "Index", right=True),
    Column("name", "Name"),
    Column("backends", "Backends"),
    Column("cores", "Cores", right=True),
    Column("memory_total_bytes", "Memory", right=True, show=_size),
    Column("memory_free_bytes", "Free", right=True, show=_size),
    Column("id", "Id"),
)


def worker_row(worker: "WorkerReport") -> dict[str, object]:
    """A worker with the names that scripts rely on first."""
    facts = worker.without_key().model_dump(mode="json")
    spec = facts.pop("spec")
    facts.pop("key", None)
    first = ("id", "name", "pid", "port", "status", "model", "backend")
    row: dict[str, object] = {name: facts.pop(name) for name in first}
    return {**row, "ctx": spec["ctx"], "parallel": spec["parallel"], **facts}


def device_row(device: "DeviceReport") -> dict[str, object]:
    """A device as it is reported."""
    return device.model_dump(mode="json")
