"""What the doctor knows of this machine before it judges; a fact that could not be read is None."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator_core.errors import Refusal
from orchestrator_core.findings import Finding
from orchestrator_core.platforms.port import PortHolder

__all__ = [
    "ControlFacts",
    "DaemonFacts",
    "FolderFacts",
    "HostFacts",
    "LocalFacts",
    "OrchestratorFacts",
    "PoolFacts",
    "SettingsFault",
    "SshFacts",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderFacts:
    """A folder of the installation; its numbers are those of the nearest folder that exists."""

    name: str
    path: Path
    is_writable: bool
    free_bytes: int
    mode: int | None = None
    obstacle: Path | None = None
    """What lies in its place, or in that of a folder above it, and is no folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFacts:
    """Programs, folders and files; programs that are not installed have no path."""

    python: tuple[int, int, int]
    version: str
    programs: Mapping[str, Path | None]
    folders: tuple[FolderFacts, ...]
    open_secrets: tuple[Path, ...] = ()
    crash_logs: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SshFacts:
    """What SSH goes by: keys and agent of the user, configuration, hosts that are known."""

    keys: tuple[Path, ...] = ()
    open_keys: tuple[Path, ...] = ()
    agent: Path | None = None
    agent_answers: bool = False
    unreadable: tuple[Path, ...] = ()
    known_hosts: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFacts:
    """One daemon of this installation from the outside: run file, lock, port."""

    name: str
    start_command: str
    bind: str
    version: str
    run_pid: int | None = None
    run_url: str | None = None
    run_version: str | None = None
    lock_pid: int | None = None
    holder: PortHolder | None = None


@dataclass(frozen=True, slots=True)
class SettingsFault:
    """A settings file, or a variable, that somebody must correct."""

    subject: str
    text: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFacts:
    """A pool as the orchestrator tells it; link and reason where it reaches the host by itself."""

    name: str
    status: str
    version: str
    last_seen_s: float | None = None
    link: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorFacts:
    """The orchestrator that commands call; a refusal says why it or its pools cannot be asked."""

    url: str
    origin: str
    version: str
    refusal: Refusal | None = None
    is_ready: bool = False
    reasons: tuple[str, ...] = ()
    ahead_s: float | None = None
    """How far its clock is ahead of ours; a header tells whole seconds."""
    pools: tuple[PoolFacts, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """A host of llorch.toml: whether it is reached, and the llorch-pool that answered there."""

    name: str
    way: str
    version: str
    refusal: Refusal | None = None
    their_version: str | None = None
    findings: tuple[Finding, ...] = ()
    """What its own doctor has found besides what is well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFacts:
    """Everything; a part that could not be read is None and named in `unread`."""

    local: LocalFacts | None = None
    ssh: SshFacts | None = None
    faults: tuple[SettingsFault, ...] | None = None
    daemons: tuple[DaemonFacts, ...] | None = None
    orchestrator: OrchestratorFacts | None = None
    hosts: tuple[HostFacts, ...] | None = None
    unread: Mapping[str, str] = field(default_factory=dict[str, str])
