"""Where each worker listens and the key that opens it, and what external engines serve.

Filled from register and heartbeat only, kept in memory only, read by the gate and the pumps.
"""

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from orchestrator_core.catalog.external import is_external, read_engine_address
from orchestrator_core.contracts.pool import WorkerReport, WorkerSpec
from orchestrator_core.errors import Refusal
from orchestrator_core.ids import PoolId, WorkerId
from orchestratord.upstream.road import DIRECT, Road

__all__ = ["External", "RoadTo", "WorkerAddress", "WorkerBook"]

_RELAY: Final = "relay"

RoadTo = Callable[[PoolId, WorkerId], Road]
"""By which road a worker of a pool is reached."""


def _all_direct(pool_id: PoolId, worker_id: WorkerId) -> Road:  # noqa: ARG001 - the port's.
    return DIRECT


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
    """What it takes to talk to a worker; the key never shows in a repr.

    host and port are as the worker's own host sees them; the road leads there.
    """

    worker_id: WorkerId
    name: str
    pool_id: PoolId
    host: str
    port: int
    model: str
    ctx: int | None
    key: str | None = field(repr=False, default=None)
    external: External | None = None
    road: Road = field(repr=False, compare=False, default=DIRECT)

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

    def __init__(self, road_to: RoadTo = _all_direct) -> None:
        self._road_to = road_to
        self._pools: dict[PoolId, dict[WorkerId, WorkerAddress]] = {}
        self._served: dict[PoolId, dict[str, WorkerSpec]] = {}
        self._external: dict[str, WorkerSpec] = {}

    @property
    def external_models(self) -> Mapping[str, WorkerSpec]:
        """What external engines serve, by name; a pool that went silent keeps its models."""
        return self._external

    def replace(self, pool_id: PoolId, reports: Sequence[WorkerReport]) -> None:
        """Take a pool's full word."""
        addresses = (_address(pool_id, report, self._road_to) for report in reports)
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


def _address(pool_id: PoolId, report: WorkerReport, road_to: RoadTo) -> WorkerAddress | None:
    if report.url is None:
        return None
    spec, external = report.spec, None
    worker_id = WorkerId(report.id)
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
        worker_id=worker_id,
        name=report.name,
        pool_id=pool_id,
        host=host,
        port=port,
        model=report.model,
        ctx=spec.ctx,
        key=report.key.get_secret_value() if report.key else None,
        external=external,
        road=_road(host, external, road_to(pool_id, worker_id)),
    )


def _road(host: str, external: External | None, road: Road) -> Road:
    """Choose between the road of the pool and our own; an engine elsewhere may be nearer to us.

    A pool that joined by itself reaches its engines for us: it names no address that we dial. Only
    through HTTPS, where the engine has to prove its name to us, there is no way but our own.
    """
    if external is None or _is_loopback(host):
        return road
    return road if road.name == _RELAY and not external.tls else DIRECT


def _is_loopback(host: str) -> bool:
    """Tell whether only the pool's own host can mean this address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
