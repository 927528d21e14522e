"""Feeds a self-checking machine one fact after another; every step returns its commands."""

from collections.abc import Iterable

from orchestrator_core.contracts.pool import DeviceReport, ModelReport, WorkerReport, WorkerSpec
from orchestrator_core.contracts.tasks import Timings, Usage
from orchestrator_core.errors import Code
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.scheduler import commands as c
from orchestrator_core.scheduler import events as e
from orchestrator_core.scheduler.limits import MachineLimits
from orchestrator_core.scheduler.machine import Machine
from orchestrator_core.testing.facts import job_facts, job_id, pool_beat, pool_registered
from orchestrator_core.testing.reports import worker_report, worker_spec

USAGE = Usage(prompt_tokens=3, completion_tokens=5, total_tokens=8)
TIMINGS = Timings(prompt_ms=1.0, predicted_ms=2.0)


class MachineScript:
    """One machine, its time, and short words for what happens to it."""

    def __init__(self, limits: MachineLimits | None = None, *, validate: bool = True) -> None:
        self.at = 100.0
        self.machine = Machine(nonce=7, epoch_ms=0, limits=limits, validate=validate)

    def post(self, event: e.Event) -> list[c.Command]:
        return self.machine.handle(event)

    def arrive(
        self,
        number: int,
        *,
        spec: WorkerSpec | None = None,
        slots: int = 1,
        deadline_at: float | None = None,
        pin: str | None = None,
        queued_at: float | None = None,
        **facts: object,
    ) -> list[c.Command]:
        job = job_facts(
            number,
            spec=spec,
            queued_at=self.at if queued_at is None else queued_at,
            slots=slots,
            deadline_at=deadline_at,
            pin_pool=pin,
            **facts,
        )
        return self.post(e.JobArrived(at=self.at, job=job))

    def restore(
        self, number: int, *, deadline_at: float | None = None, **facts: object
    ) -> list[c.Command]:
        fields: dict[str, object] = {"attempt": 0, "was_alive": False} | facts
        job = job_facts(number, queued_at=float(number), deadline_at=deadline_at)
        return self.post(e.JobRestored(at=self.at, job=job, **fields))

    def cancel(self, number: int) -> list[c.Command]:
        return self.post(e.CancelRequested(at=self.at, job_id=job_id(number)))

    def register(
        self, pool: str = "home", *workers: WorkerReport, session: int = 1, **facts: object
    ) -> list[c.Command]:
        event = pool_registered(pool, at=self.at, session=session, workers=workers, **facts)
        return self.post(event)

    def beat(
        self,
        pool: str = "home",
        *workers: WorkerReport,
        session: int = 1,
        models: tuple[ModelReport, ...] | None = None,
        draining: bool = False,
    ) -> list[c.Command]:
        event = pool_beat(
            pool, at=self.at, session=session, workers=workers, models=models, draining=draining
        )
        return self.post(event)

    def beat_with_devices(self, pool: str, *devices: DeviceReport) -> list[c.Command]:
        return self.post(pool_beat(pool, at=self.at, devices=devices))

    def tick(self, at: float | None = None) -> list[c.Command]:
        """Let time go to a moment (or the next alarm) and ring, also for what is due before."""
        target = self.machine.next_alarm_at if at is None else at
        assert target is not None
        rung: list[c.Command] = []
        while (due := self.machine.next_alarm_at) is not None and self.at < due < target:
            self.at = due
            rung += self.post(e.Tick(at=due))
        return rung + self.oversleep(target)

    def oversleep(self, at: float) -> list[c.Command]:
        """Ring for the first time at a moment, whatever was due before."""
        self.at = at
        return self.post(e.Tick(at=at))

    def accept(self, number: int, attempt: int = 1) -> list[c.Command]:
        fact = e.AttemptAccepted(at=self.at, job_id=job_id(number), attempt=attempt)
        return self.post(fact)

    def end(self, number: int, attempt: int = 1) -> list[c.Command]:
        fact = e.AttemptEnded(
            at=self.at,
            job_id=job_id(number),
            attempt=attempt,
            stop_reason="stop",
            tokens_out=5,
            usage=USAGE,
            timings=TIMINGS,
        )
        return self.post(fact)

    def break_off(
        self,
        number: int,
        attempt: int = 1,
        *,
        reason: Code = Code.WORKER_LOST,
        retriable: bool = True,
        tokens_kept: int = 0,
        resumable: bool = False,
        computing: bool = False,
    ) -> list[c.Command]:
        fact = e.AttemptBroken(
            at=self.at,
            job_id=job_id(number),
            attempt=attempt,
            reason=reason,
            message="connection reset",
            retriable=retriable,
            tokens_kept=tokens_kept,
            resumable=resumable,
            computing=computing,
        )
        return self.post(fact)

    def seen_idle(self, number: int, worker_id: str, attempt: int = 1) -> list[c.Command]:
        """Somebody has seen that the worker let go of an attempt that was cut short."""
        fact = e.SlotsSeenIdle(
            at=self.at, job_id=job_id(number), attempt=attempt, worker_id=WorkerId(worker_id)
        )
        return self.post(fact)

    def refuse(self, order: c.StartWorker, reason: Code) -> list[c.Command]:
        fact = e.SpawnRefused(
            at=self.at,
            pool_id=order.pool_id,
            worker_id=order.worker_id,
            reason=reason,
            message="no room",
        )
        return self.post(fact)

    def stop_worker(self, worker_id: str) -> list[c.Command]:
        return self.post(e.WorkerStopRequested(at=self.at, worker_id=WorkerId(worker_id)))

    def wanted_ids(self, pool: str = "home") -> list[str]:
        return [worker.worker_id for worker in self.machine.wanted(PoolId(pool)).workers]


def ready(worker_id: str = "wrk_a", *, slots: int = 1, **facts: object) -> WorkerReport:
    """A worker of ours that is ready."""
    return worker_report(worker_id, spec=worker_spec(parallel=slots), **facts)


def dispatched(
    number: int,
    worker_id: str,
    *,
    attempt: int = 1,
    pool: str = "home",
    incarnation: int = 1,
    kept: int = 0,
) -> list[c.Command]:
    """What sends a job to a worker."""
    pool_id, worker = PoolId(pool), WorkerId(worker_id)
    return [
        c.PersistDispatched(
            job_id=job_id(number),
            attempt=attempt,
            pool_id=pool_id,
            worker_id=worker,
            kept_tokens=kept,
        ),
        c.Dispatch(
            job_id=job_id(number),
            attempt=attempt,
            pool_id=pool_id,
            worker_id=worker,
            incarnation=incarnation,
            keep_tokens=kept,
        ),
    ]


def closes(number: int, worker_id: str, *, attempt: int = 1, pool: str = "home") -> c.CancelAttempt:
    """What closes the socket of an attempt."""
    return c.CancelAttempt(
        job_id=job_id(number),
        attempt=attempt,
        pool_id=PoolId(pool),
        worker_id=WorkerId(worker_id),
    )


def runs(number: int, worker_id: str, *, attempt: int = 1, pool: str = "home") -> c.PersistRunning:
    """What records that a worker took a job."""
    return c.PersistRunning(
        job_id=job_id(number),
        attempt=attempt,
        pool_id=PoolId(pool),
        worker_id=WorkerId(worker_id),
    )


def requeued(
    number: int,
    attempt: int = 1,
    *,
    reason: Code = Code.WORKER_LOST,
    message: str = "connection reset",
    tokens: int = 0,
    kept: int = 0,
) -> c.PersistRequeued:
    """What records that a job waits again."""
    return c.PersistRequeued(
        job_id=job_id(number),
        attempt=attempt,
        reason=reason,
        message=message,
        tokens=tokens,
        keep_tokens=kept,
    )


def started(commands: Iterable[c.Command]) -> c.StartWorker:
    """The one order for a worker in the list."""
    (order,) = (command for command in commands if isinstance(command, c.StartWorker))
    return order
