"""The control plane's own views: errors, health, pools, run files and keys."""

from typing import Literal

from pydantic import Field

from orchestrator_core.contracts.base import Fact
from orchestrator_core.contracts.pool import DeviceReport, ModelReport, PoolState, WorkerReport

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
    """A pool as the orchestrator sees it; one that never reported is lost and was never seen.

    link is the connection that the orchestrator holds to the host, if it holds one; reason says
    what a person must do about it.
    """

    pool_id: str
    status: PoolState
    endpoint: str
    version: str
    last_seen_s: float | None
    devices: list[DeviceReport]
    workers: list[WorkerReport]
    models: list[ModelReport] = Field(default_factory=list[ModelReport])
    road: Literal["local", "ssh", "relay"] = "local"
    enrolled: bool = False
    joined: bool = False
    declared: bool = False
    certificate_sha256: str | None = None
    link: Literal["up", "connecting", "needs_attention"] | None = None
    reason: str | None = None


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
