"""Where each worker listens and the key that opens it, and what external engines serve.

Filled from register and heartbeat only, kept in memory only, read by the gate and the pumps.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from orchestrator_core.catalog.external import is_external, read_engine_address
from orchestrator_core.contracts.pool import WorkerReport, WorkerSpec
from orchestrator_core.errors import Refusal
from orchestrator_core.ids import PoolId, WorkerId

__all__ = ["External", "WorkerAddress", "WorkerBook"]


@dataclass(frozen=True, slots=True)
class External:
    """How an engine that is not ours wants to be spoken to: its paths and its model's name.

    cold_s is how long it may take to its first token: it may load the model first.
    """

    base_path: str
    model: str
    cold_s: float
    tls: bool = False


@dataclass(frozen=True, slots=True)
class WorkerAddress:
    """What it takes to talk to a worker; the key never shows in a repr."""

    worker_id: WorkerId
    name: str
    pool_id: PoolId
    host: str
    port: int
    model: str
    ctx: int | None
    key: str | None = field(repr=False, default=None)
    external: External | None = None

    def is_same_process(self, other: "WorkerAddress") -> bool:
        """True for one process, whatever else is reported of it since.

        A worker that starts again listens elsewhere or has a new key.
        """
        return (
            self.worker_id == other.worker_id
            and self.pool_id == other.pool_id
            and (self.host, self.port, self.key) == (other.host, other.port, other.key)
        )


class WorkerBook:
    """The addresses of all pools' workers, and the models that only external engines serve."""

    def __init__(self) -> None:
        self._pools: dict[PoolId, dict[WorkerId, WorkerAddress]] = {}
        self._served: dict[PoolId, dict[str, WorkerSpec]] = {}
        self._external: dict[str, WorkerSpec] = {}

    @property
    def external_models(self) -> Mapping[str, WorkerSpec]:
        """What external engines serve, by name; a pool that went silent keeps its models."""
        return self._external

    def replace(self, pool_id: PoolId, reports: Sequence[WorkerReport]) -> None:
        """Take a pool's full word."""
        addresses = (_address(pool_id, report) for report in reports)
        self._pools[pool_id] = {found.worker_id: found for found in addresses if found}
        served = _widest(report.spec for report in reports if is_external(report.spec))
        if served != self._served.get(pool_id, {}):
            self._served[pool_id] = served
            pools = sorted(self._served)
            self._external = _widest(spec for name in pools for spec in self._served[name].values())

    def find(self, pool_id: PoolId, worker_id: WorkerId) -> WorkerAddress | None:
        """Look a worker up."""
        return self._pools.get(pool_id, {}).get(worker_id)

    def name_of(self, pool_id: str, worker_id: str) -> str | None:
        """A worker's name for people, while it is known."""
        found = self.find(PoolId(pool_id), WorkerId(worker_id))
        return found.name if found else None


def _widest(specs: Iterable[WorkerSpec]) -> dict[str, WorkerSpec]:
    """One spec per model: where several engines serve it, the one with the most slots."""
    found: dict[str, WorkerSpec] = {}
    for spec in specs:
        other = found.get(spec.model.model_id)
        if other is None or (spec.parallel or 1) > (other.parallel or 1):
            found[spec.model.model_id] = spec
    return found


def _address(pool_id: PoolId, report: WorkerReport) -> WorkerAddress | None:
    if report.url is None:
        return None
    spec, external = report.spec, None
    if is_external(spec):
        address = read_engine_address(report.url)
        if isinstance(address, Refusal):
            return None
        host, port = address.host, address.port
        external = External(address.path, spec.model.file, spec.stall_s, address.tls)
    else:
        parts = urlsplit(report.url)
        if parts.hostname is None or parts.port is None:
            return None
        host, port = parts.hostname, parts.port
    return WorkerAddress(
        worker_id=WorkerId(report.id),
        name=report.name,
        pool_id=pool_id,
        host=host,
        port=port,
        model=report.model,
        ctx=spec.ctx,
        key=report.key.get_secret_value() if report.key else None,
        external=external,
    )
