"""Turns what the pool reports into rows: plain values for scripts, columns for people."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from orchestrator_core.console.render import Column
from orchestrator_core.units import format_bytes

if TYPE_CHECKING:
    from orchestrator_core.contracts.pool import DeviceReport, WorkerReport

__all__ = [
    "DEVICE_COLUMNS",
    "SPAWN_COLUMNS",
    "STATUS_DEVICE_COLUMNS",
    "WORKER_COLUMNS",
    "device_row",
    "worker_row",
]


def _size(value: object) -> str:
    return format_bytes(value) if isinstance(value, int) else "-"


def _in(unit: str) -> Callable[[object], str]:
    def show(value: object) -> str:
        return f"{value:.0f} {unit}" if isinstance(value, int | float) else "-"

    return show


WORKER_COLUMNS: Final = (
    Column("name", "Name"),
    Column("id", "Id"),
    Column("status", "Status"),
    Column("model", "Model"),
    Column("backend", "Backend"),
    Column("device_ids", "Devices"),
    Column("slots_total", "Slots", right=True),
    Column("pid", "Pid", right=True),
    Column("port", "Port", right=True),
    Column("memory_bytes", "Memory", right=True, show=_size),
    Column("starts", "Starts", right=True),
    Column("started_at", "Started"),
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
    Column("key_file", "Key file"),
)

_IDENTITY: Final = (
    Column("kind", "Kind"),
    Column("index", "Index", right=True),
    Column("name", "Name"),
    Column("backends", "Backends"),
)
_MEMORY: Final = (
    Column("memory_total_bytes", "Memory", right=True, show=_size),
    Column("memory_used_bytes", "Used", right=True, show=_size),
    Column("memory_free_bytes", "Free", right=True, show=_size),
)
_STATE: Final = (Column("state", "State"),)

STATUS_DEVICE_COLUMNS: Final = (*_IDENTITY, *_MEMORY, *_STATE)

DEVICE_COLUMNS: Final = (
    *_IDENTITY,
    Column("cores", "Cores", right=True),
    *_MEMORY,
    Column("utilization_percent", "Load", right=True, show=_in("%")),
    Column("temperature_c", "Temp", right=True, show=_in("C")),
    Column("power_w", "Power", right=True, show=_in("W")),
    Column("driver", "Driver"),
    *_STATE,
    Column("id", "Id"),
)


def worker_row(worker: "WorkerReport") -> dict[str, object]:
    """A worker with the names that scripts rely on first."""
    facts = worker.without_key().model_dump(mode="json")
    spec = facts.pop("spec")
    facts.pop("key", None)
    first = ("id", "name", "pid", "port", "status", "model", "backend")
    row: dict[str, object] = {name: facts.pop(name) for name in first}
    chosen = {name: spec[name] for name in ("device_ids", "ctx", "parallel")}
    # Nobody here starts an external engine: its incarnations only tell one from the next.
    starts = None if spec["engine"] == "openai" else worker.incarnation
    return {**row, **chosen, **facts, "starts": starts}


def device_row(device: "DeviceReport") -> dict[str, object]:
    """A device as it is reported, and its state in words."""
    words = ["stale" if device.stale else "", device.fault or ""]
    state = ": ".join(word for word in words if word) or "ok"
    return {**device.model_dump(mode="json"), "state": state}
