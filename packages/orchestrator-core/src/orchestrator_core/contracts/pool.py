"""What a pool reports and what it is ordered to do, in both directions."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints, field_serializer

from orchestrator_core.contracts.base import Fact, Order
from orchestrator_core.contracts.tasks import TaskKind

__all__ = [
    "Backend",
    "Commit",
    "DeviceProcess",
    "DeviceReport",
    "Heartbeat",
    "HeartbeatReply",
    "ModelFile",
    "ModelPart",
    "ModelReport",
    "Owner",
    "Peer",
    "PoolName",
    "PoolRegister",
    "PoolRegistered",
    "PoolState",
    "PoolStatusView",
    "Sha256",
    "SpawnRequest",
    "StopRequest",
    "WantedSet",
    "WantedWorker",
    "WorkerList",
    "WorkerReport",
    "WorkerSpec",
    "WorkerStatus",
]

PoolName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Backend(StrEnum):
    """Where the arithmetic of a worker runs."""

    CPU = "cpu"
    CUDA = "cuda"
    METAL = "metal"
    ROCM = "rocm"
    VULKAN = "vulkan"
    SYCL = "sycl"


class WorkerStatus(StrEnum):
    """The states of a worker; cluster.workers holds the table of moves."""

    STARTING = "starting"
    LOADING = "loading"
    READY = "ready"
    BUSY = "busy"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"
    PARKED = "parked"
    UNCLAIMED = "unclaimed"


class PoolState(StrEnum):
    """How fresh a pool's word is."""

    ONLINE = "online"
    SUSPECT = "suspect"
    LOST = "lost"
    DRAINING = "draining"


class Owner(StrEnum):
    """Who asked for a worker: only the orchestrator's own are evicted or stopped by it."""

    ORCHESTRATOR = "orchestrator"
    OPERATOR = "operator"


class DeviceProcess(Fact):
    """A process that holds memory of a device; a driver may keep the amount to itself."""

    pid: int
    memory_bytes: int | None = None


class DeviceReport(Fact):
    """One device of a host; the id survives reboots and re-ordering.

    What a driver does not tell is None, never 0. A stale device was there when its driver last
    answered, and fault says what is wrong with it or with its driver.
    """

    id: str
    index: int
    kind: Literal["cpu", "gpu"]
    name: str
    backends: list[Backend]
    memory_total_bytes: int
    memory_free_bytes: int
    unified_memory: bool = False
    cores: int | None = None
    features: tuple[str, ...] = ()
    stale: bool = False
    fault: str | None = None
    vendor: Literal["nvidia", "amd", "intel", "apple", "other"] | None = None
    architecture: str | None = None
    """What engines are built for: compute capability (8.9), gfx name (gfx1100)."""

    driver: str | None = None
    pci_address: str | None = None
    parent_id: str | None = None
    """The whole card of which this device is a part (MIG)."""

    memory_used_bytes: int | None = None
    utilization_percent: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    processes: tuple[DeviceProcess, ...] = ()

    @property
    def is_sound(self) -> bool:
        """True when its driver answers and finds nothing wrong: nothing is placed elsewhere."""
        return not self.stale and self.fault is None


Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""The content of a file, in lower-case hex."""

Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
"""A revision of a repository that can never change its meaning."""


class ModelPart(Order):
    """One file of a model: a name inside its repository or folder, and its content."""

    file: str
    size_bytes: Annotated[int, Field(ge=0)] | None = None
    sha256: Sha256 | None = None


class ModelFile(Order):
    """A resolved model: the file to load, named by its content, and what belongs to it.

    parts are the further files of a split model in their order; mmproj is what reads its images.
    """

    model_id: str
    source: Literal["builtin", "hub", "file", "external"]
    file: str
    sha256: Sha256 | None = None
    size_bytes: int | None = None
    repo: str | None = None
    commit: Commit | None = None
    parts: tuple[ModelPart, ...] = ()
    mmproj: ModelPart | None = None


class ModelReport(Fact):
    """A model that lies on a host; size_bytes is the size of all its files."""

    id: str
    file: str
    size_bytes: int
    sha256: str | None = None
    source: Literal["builtin", "hub", "file"] = "builtin"
    repo: str | None = None
    commit: str | None = None
    trained_ctx: int | None = None


class WorkerSpec(Order):
    """What a worker shall be; ctx is per slot.

    Without ctx or parallel the pool chooses what suits the model and its memory, and reports what
    it chose. stall_s is how long a busy worker may show no progress before it is ended.
    """

    model: ModelFile
    backend: Backend = Backend.CPU
    device_ids: tuple[str, ...] = ()
    engine: Literal["embedded", "llama-server", "openai"] = "embedded"
    task: TaskKind = TaskKind.GENERATE
    ctx: Annotated[int, Field(ge=64, le=4_194_304)] | None = None
    parallel: Annotated[int, Field(ge=1, le=256)] | None = None
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    batch_size: Annotated[int, Field(ge=32, le=16_384)] = 256
    stall_s: Annotated[float, Field(ge=1, le=86_400)] = 600.0


class SpawnRequest(Order):
    """An order to start a worker; without an id it is a person's."""

    worker_id: Annotated[str, StringConstraints(pattern=r"^wrk_[0-9a-hjkmnp-tv-z]{26}$")] | None = (
        None
    )
    generation: Annotated[int, Field(ge=1)] = 1
    revision: Annotated[int, Field(ge=0)] = 0
    spec: WorkerSpec


class StopRequest(Order):
    """An order to stop a worker; grace_s is the time between TERM and KILL."""

    generation: Annotated[int, Field(ge=1)] | None = None
    revision: Annotated[int, Field(ge=0)] = 0
    grace_s: Annotated[float, Field(ge=0, le=600)] = 10.0


class WorkerReport(Fact):
    """A worker as its pool sees it; the key is shown only to the orchestrator."""

    id: str
    name: str
    incarnation: int = 1
    generation: int = 1
    owner: Owner
    status: WorkerStatus
    model: str
    task: TaskKind
    backend: Backend
    engine_version: str | None = None
    spec: WorkerSpec
    pid: int | None = None
    port: int | None = None
    url: str | None = None
    key: SecretStr | None = None
    slots_total: int
    slots_busy: int = 0
    started_at: str
    ready_at: str | None = None
    memory_bytes: int | None = None
    error_code: str | None = None
    error_message: str | None = None

    @field_serializer("key", when_used="json")
    def _reveal(self, key: SecretStr | None) -> str | None:
        # A key travels only inside register and heartbeat; every other view is made without it.
        return key.get_secret_value() if key else None

    def without_key(self) -> "WorkerReport":
        """The same report for eyes that must not see the key."""
        return self.model_copy(update={"key": None})


class WorkerList(Fact):
    """All workers of a pool."""

    items: list[WorkerReport]


class Peer(Fact):
    """Another pool that serves its models to this one: where, by which certificate, which key."""

    pool_id: str
    url: str
    certificate: str | None = None
    key: SecretStr

    @field_serializer("key", when_used="json")
    def _reveal(self, key: SecretStr) -> str:
        return key.get_secret_value()


class PoolRegister(Fact):
    """A pool's first word in a session; control_key opens its API to this orchestrator.

    peer_key opens its models to other pools; None: it serves them to nobody. certificate is what
    its TLS port shows; it counts only where the session itself proves who speaks, as through SSH.
    """

    pool_id: PoolName
    session_id: str
    endpoint: str
    control_key: SecretStr
    version: str
    devices: list[DeviceReport]
    workers: list[WorkerReport]
    models: list[ModelReport]
    engines: list[str]
    draining: bool = False
    peer_key: SecretStr | None = None
    certificate: Annotated[str, StringConstraints(max_length=16_384)] | None = None

    @field_serializer("control_key", "peer_key", when_used="json")
    def _reveal(self, key: SecretStr | None) -> str | None:
        return key.get_secret_value() if key else None


class WantedWorker(Order):
    """One worker that shall run; the generation fences late orders."""

    worker_id: str
    generation: int
    spec: WorkerSpec


class WantedSet(Order):
    """All workers that the orchestrator wants; a smaller revision is older and is ignored."""

    revision: int
    workers: list[WantedWorker]


class PoolRegistered(Fact):
    """The answer to a registration."""

    pool_id: str
    session_id: str
    heartbeat_interval_s: float
    wanted: WantedSet
    peers: tuple[Peer, ...] = ()


class Heartbeat(Fact):
    """A pool's word every few seconds and at once on a change."""

    pool_id: PoolName
    session_id: str
    seq: Annotated[int, Field(ge=1)]
    devices: list[DeviceReport]
    workers: list[WorkerReport]
    models: list[ModelReport] | None = None
    """All models of the host, told with the first beat after they changed; None: as before."""

    draining: bool = False


class HeartbeatReply(Fact):
    """The whole wanted set, so that one lost order heals with the next beat."""

    wanted: WantedSet
    heartbeat_interval_s: float
    peers: tuple[Peer, ...] = ()


class PoolStatusView(Fact):
    """A pool's own summary: GET /status on the pool."""

    pool_id: str
    version: str
    session_id: str
    orchestrator_url: str | None
    orchestrator_connected: bool
    draining: bool = False
    devices: list[DeviceReport]
    workers: list[WorkerReport]
    models: list[ModelReport]
