"""The control plane's own views: errors, health, pools, run files and keys."""

from orchestrator_core.contracts.base import Fact
from orchestrator_core.contracts.pool import DeviceReport, PoolState, WorkerReport

__all__ = ["ErrorBody", "ErrorEnvelope", "Health", "PoolList", "PoolView", "RunFile"]


class ErrorBody(Fact):
    """What went wrong, for a program (code) and a person (message)."""

    code: str
    message: str
    details: dict[str, object] | None = None
    correlation_id: str | None = None


class ErrorEnvelope(Fact):
    """The body of every refused call of /v2 and of the pool API."""

    error: ErrorBody


class Health(Fact):
    """The answer of /livez, /readyz and /health."""

    status: str
    reasons: tuple[str, ...] = ()


class PoolView(Fact):
    """A pool as the orchestrator sees it."""

    pool_id: str
    status: PoolState
    endpoint: str
    version: str
    last_seen_s: float
    devices: list[DeviceReport]
    workers: list[WorkerReport]


class PoolList(Fact):
    """All pools."""

    items: list[PoolView]


class RunFile(Fact):
    """How a running daemon is found: written once it listens, mode 0600."""

    daemon: str
    url: str
    pid: int
    start_time: int
    boot_id: str
    version: str
    instance: str
    key_file: str | None = None
    log_file: str | None = None
    ca_file: str | None = None
    """The certificate that the daemon shows; None where it speaks plain HTTP."""
