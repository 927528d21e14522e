"""Who acts in the machine's world: workers, pools and jobs as they really are."""

from dataclasses import dataclass, field

from orchestrator_core.contracts.pool import Owner, WorkerReport, WorkerSpec, WorkerStatus
from orchestrator_core.contracts.tasks import Priority
from orchestrator_core.errors import Code
from orchestrator_core.ids import JobId, WorkerId
from orchestrator_core.scheduler import commands as c
from orchestrator_core.scheduler import events as e
from orchestrator_core.scheduler.limits import MachineLimits
from orchestrator_core.testing.reports import worker_report, worker_spec

POOLS = ("attic", "barn", "cellar")
SPECS = (worker_spec("slim", parallel=1), worker_spec("wide", parallel=3))
LIMITS = MachineLimits(
    queue_timeout_s=400.0,
    load_timeout_s=90.0,
    attempt_timeout_s=100.0,
    total_timeout_s=2000.0,
    batch_patience_s=20.0,
    settle_batch=4,
)
ALIVE = {WorkerStatus.STARTING, WorkerStatus.LOADING, WorkerStatus.READY, WorkerStatus.DRAINING}


@dataclass
class FakeWorker:
    id: str
    spec: WorkerSpec
    owner: Owner = Owner.ORCHESTRATOR
    status: WorkerStatus = WorkerStatus.STARTING
    error_code: Code | None = None

    def report(self) -> WorkerReport:
        return worker_report(
            self.id,
            spec=self.spec,
            owner=self.owner,
            status=self.status,
            error_code=self.error_code,
            error_message="it broke" if self.error_code else None,
        )


@dataclass
class FakePool:
    name: str
    up: bool = False
    draining: bool = False
    session: int = 0
    workers: dict[str, FakeWorker] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    forgotten: set[str] = field(default_factory=set)
    orders: list[c.StartWorker] = field(default_factory=list)

    def start(self, worker_id: str, spec: WorkerSpec) -> None:
        if worker_id not in self.started:
            self.started.add(worker_id)
            self.workers[worker_id] = FakeWorker(worker_id, spec)

    def reports(self) -> list[WorkerReport]:
        known = (w for w in self.workers.values() if w.id not in self.forgotten)
        return [worker.report() for worker in known]


@dataclass
class FakeJob:
    facts: e.JobFacts
    turn: int
    attempt: int = 0
    kept: int = 0
    run: c.Dispatch | None = None
    accepted: bool = False
    doomed: bool = False
    finish: c.Finish | None = None

    @property
    def waits(self) -> bool:
        return self.finish is None and self.run is None

    @property
    def is_batch(self) -> bool:
        return self.facts.priority is Priority.BATCH


@dataclass(frozen=True)
class Hold:
    """Slots of an attempt that is over for the machine and not for its worker."""

    job_id: JobId
    attempt: int
    worker_id: WorkerId
    slots: int
