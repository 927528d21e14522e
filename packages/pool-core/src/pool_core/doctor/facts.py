"""What the doctor knows of a host before it judges; a fact that could not be read is None."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator_core.contracts.control import RunFile
from orchestrator_core.contracts.pool import DeviceReport
from orchestrator_core.platforms.port import PortHolder

__all__ = [
    "ClosedNode",
    "DaemonFacts",
    "DeviceFacts",
    "Folder",
    "HostFacts",
    "KernelFacts",
    "ServiceFacts",
    "SoftwareFacts",
    "StorageFacts",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftwareFacts:
    """Programs and libraries; missing_library is one that the engine needs and that is not there."""

    python: tuple[int, int, int]
    system: str
    machine: str
    engine_build: str | None = None
    missing_library: str | None = None
    worker_program: Path | None = None
    worker_is_runnable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder of the installation; its numbers are those of the nearest folder that exists."""

    name: str
    path: Path
    exists: bool = False
    obstacle: Path | None = None
    """What lies in its place, or in that of a folder above it, and is no folder."""

    is_writable: bool = False
    mode: int | None = None
    free_bytes: int | None = None
    free_files: int | None = None
    """None also where the filesystem does not count them."""

    filesystem: str | None = None
    holds_secrets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageFacts:
    """Folders, and files that somebody should look at."""

    folders: tuple[Folder, ...] = ()
    open_secrets: tuple[Path, ...] = ()
    set_aside: tuple[Path, ...] = ()
    crash_logs: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class ClosedNode:
    """A device file that this user may not open, and the group that may."""

    path: Path
    group: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What the host computes with, and what is in the way."""

    devices: tuple[DeviceReport, ...] = ()
    faults: Mapping[str, str] = field(default_factory=dict[str, str])
    closed_nodes: tuple[ClosedNode, ...] = ()
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFacts:
    """Limits of the kernel and of this process's groups."""

    has_pidfd: bool | None = None
    overcommit: int | None = None
    open_files_max: int | None = None
    outgoing_ports: tuple[int, int] | None = None
    reserved_ports: str = ""
    worker_ports: tuple[int, int]
    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    cpu_limit: int | None = None
    smallest_model_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """pool-managerd from the outside: run file, lock, port, answer."""

    version: str
    bind: str
    settings_fault: str | None = None
    catalog_fault: str | None = None
    run: RunFile | None = None
    lock_pid: int | None = None
    answers: bool | None = None
    port: int | None = None
    holder: PortHolder | None = None
    is_draining: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFacts:
    """Whether the daemon comes back after a restart of the machine; lingers keeps it after logout."""

    manager: str | None = None
    installed: str | None = None
    lingers: bool | None = None
    user: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """Everything; a part that could not be read in time is None and named in `unread`."""

    software: SoftwareFacts | None = None
    storage: StorageFacts | None = None
    devices: DeviceFacts | None = None
    kernel: KernelFacts | None = None
    daemon: DaemonFacts | None = None
    service: ServiceFacts | None = None
    unread: Mapping[str, str] = field(default_factory=dict[str, str])
