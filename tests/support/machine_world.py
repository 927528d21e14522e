"""A small untidy world around the machine: pools, workers and pumps that act when told to.

It keeps its own books of what was ordered and what ran, and refuses commands that break the rules:
one terminal transition per job, slots (those that linger included), the order of the queue, fenced
attempts, and answers that go on where they were cut.
"""

from dataclasses import replace

from orchestrator_core.cluster import workers
from orchestrator_core.contracts.pool import Owner, WorkerStatus
from orchestrator_core.contracts.tasks import JobStatus, Priority, Timings, Usage
from orchestrator_core.errors import Code
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.scheduler import commands as c
from orchestrator_core.scheduler import events as e
from orchestrator_core.scheduler.machine import Machine
from orchestrator_core.testing.facts import (
    job_facts,
    key_id,
    pool_beat,
    pool_registered,
    session_id,
)
from support.machine_cast import ALIVE, LIMITS, POOLS, SPECS, FakeJob, FakePool, FakeWorker, Hold

ALIVE_REPORTED = workers.ALIVE


class MachineWorld:
    """Everything the machine cannot see, and its books."""

    def __init__(self) -> None:
        self.at = 1.0
        self.nonce = 1
        self.machine = Machine(nonce=self.nonce, limits=LIMITS, validate=True)
        # Arrivals of this machine: what came first has the smaller number.
        self.turns = 0
        # Attempts that were cut short, until somebody sees their worker idle.
        self.holds: list[Hold] = []
        self.pools = {name: FakePool(name) for name in POOLS}
        self.jobs: dict[str, FakeJob] = {}
        # Workers that lost a connection and were not reported ready since.
        self.suspects: set[str] = set()
        # Workers that a person stopped: a restart may find them alive, nothing else may use them.
        self.dismissed: set[str] = set()

    # What the machine is told and what it answers.

    def post(self, event: e.Event) -> None:
        answer = self.machine.handle(event)
        self._let_go_of_the_dead()
        for command in answer:
            self.perform(command)

    def perform(self, command: c.Command) -> None:
        match command:
            case c.Dispatch():
                self._dispatched(command)
            case c.CancelAttempt():
                run = self.jobs[command.job_id].run
                assert run is not None
                assert run.attempt == command.attempt
                assert (run.worker_id, run.pool_id) == (command.worker_id, command.pool_id)
                self.jobs[command.job_id].run = None
                self._hold(run)
            case c.Finish():
                self._finished(command)
            case c.PersistRequeued():
                job = self.jobs[command.job_id]
                assert job.waits
                assert command.keep_tokens == job.kept
                assert command.tokens >= command.keep_tokens
            case c.StartWorker():
                assert command.revision <= self.machine.wanted(command.pool_id).revision
                assert not self.told_draining(command.pool_id), "an order for a draining pool"
                self.pools[command.pool_id].orders.append(command)
            case c.StopWorker():
                self._stopped(self.pools[command.pool_id], command.worker_id)
            case c.PersistDispatched() | c.PersistRunning():
                assert self.jobs[command.job_id].finish is None

    def told_draining(self, pool_id: str) -> bool:
        pool = self.machine.state.pools.get(PoolId(pool_id))
        return pool is not None and pool.draining

    def _dispatched(self, command: c.Dispatch) -> None:
        job = self.jobs[command.job_id]
        assert job.waits
        assert not self.told_draining(command.pool_id), "a job for a draining pool"
        assert command.attempt == job.attempt + 1
        assert command.keep_tokens == job.kept
        self._check_turn(job, command.pool_id)
        assert job.facts.pin_pool in (None, command.pool_id)
        assert command.worker_id not in self.suspects, f"{command.worker_id} was not confirmed"
        job.attempt, job.run = command.attempt, command
        job.accepted = False
        worker = self.pools[command.pool_id].workers[command.worker_id]
        job.doomed = worker.status not in ALIVE
        used = sum(
            min(other.facts.slots, worker.spec.parallel)
            for other in self.jobs.values()
            if other.run is not None and other.run.worker_id == worker.id
        )
        held = sum(hold.slots for hold in self.holds if hold.worker_id == worker.id)
        assert used + held <= worker.spec.parallel, f"{worker.id} has {used} and {held} slots"

    def _check_turn(self, job: FakeJob, pool_id: str) -> None:
        """Nobody of its own key and class came before it, and batch waits for the others."""
        known = self.machine.state.jobs
        rivals = [
            other
            for other in self.jobs.values()
            if other.waits
            and other.facts.model == job.facts.model
            and other.facts.pin_pool in (None, pool_id)
            and other.facts.id in known
            and known[other.facts.id].wake_at is None
        ]
        for other in rivals:
            if other.facts.key_id == job.facts.key_id and other.is_batch == job.is_batch:
                assert job.turn <= other.turn, f"{job.facts.id} overtook {other.facts.id}"
        people = [other.facts.queued_at for other in rivals if not other.is_batch]
        if job.is_batch and people:
            assert job.facts.queued_at + LIMITS.batch_patience_s < max(people)

    def _hold(self, run: c.Dispatch) -> None:
        slots = min(self.jobs[run.job_id].facts.slots, self._parallel(run))
        self.holds.append(Hold(run.job_id, run.attempt, run.worker_id, slots))
        self._let_go_of_the_dead()

    def _parallel(self, run: c.Dispatch) -> int:
        return self.pools[run.pool_id].workers[run.worker_id].spec.parallel or 1

    def _let_go_of_the_dead(self) -> None:
        """A worker that is gone for the machine holds nothing; it is still told so once."""
        workers = self.machine.state.workers
        for place, hold in enumerate(self.holds):
            worker = workers.get(hold.worker_id)
            if hold.slots and (worker is None or worker.status not in ALIVE_REPORTED):
                self.holds[place] = replace(hold, slots=0)

    def let_go(self, some: int) -> None:
        """A worker is seen to have let go of an attempt."""
        hold = self.holds.pop(some % len(self.holds))
        fact = e.SlotsSeenIdle(
            at=self.at, job_id=hold.job_id, attempt=hold.attempt, worker_id=hold.worker_id
        )
        self.post(fact)

    def _finished(self, command: c.Finish) -> None:
        job = self.jobs[command.job_id]
        assert job.finish is None, f"{command.job_id} ended twice"
        # A job that ends while its socket is open must have had it closed first.
        assert job.run is None
        assert command.attempt == job.attempt
        assert (command.code is None) == (command.status is JobStatus.COMPLETED)
        job.finish = command

    def _stopped(self, pool: FakePool, worker_id: WorkerId) -> None:
        pool.orders = [order for order in pool.orders if order.worker_id != worker_id]
        if pool.up and worker_id in pool.workers:
            self.kill_worker(pool.workers[worker_id], WorkerStatus.STOPPED)

    # Clients.

    def submit(
        self,
        model: int,
        *,
        pin: int | None = None,
        slots: int = 1,
        deadline_s: float | None = None,
        key: int = 1,
        weight: int = 1,
        priority: Priority = Priority.INTERACTIVE,
    ) -> None:
        facts = job_facts(
            len(self.jobs) + 1,
            spec=SPECS[model],
            queued_at=self.at,
            deadline_at=None if deadline_s is None else self.at + deadline_s,
            slots=slots,
            pin_pool=None if pin is None else POOLS[pin],
            key=key_id(key),
            weight=weight,
            priority=priority,
        )
        self.turns += 1
        self.jobs[facts.id] = FakeJob(facts, self.turns)
        self.post(e.JobArrived(at=self.at, job=facts))

    def cancel(self, job: FakeJob) -> None:
        ended = job.finish is not None
        answer = self.machine.handle(e.CancelRequested(at=self.at, job_id=job.facts.id))
        self._let_go_of_the_dead()
        assert not (ended and answer)
        for command in answer:
            self.perform(command)
        assert job.finish is not None

    # Time.

    def advance(self, seconds: float) -> None:
        target = self.at + seconds
        for _ in range(10_000):
            due = self.machine.next_alarm_at
            if due is None or due > target:
                self.at = target
                return
            self.at = max(self.at, due)
            self.post(e.Tick(at=self.at))
        raise AssertionError("the alarm never stops ringing")

    # Pools.

    def register(self, pool: FakePool) -> None:
        pool.up = True
        pool.session += 1
        # What was on its way to the old session never arrives.
        pool.orders.clear()
        session, reports = pool.session, pool.reports()
        self.suspects -= pool.workers.keys()
        facts = {"session": session, "workers": reports, "draining": pool.draining}
        self.post(pool_registered(pool.name, at=self.at, **facts))
        wanted = {worker.worker_id for worker in self.machine.wanted(PoolId(pool.name)).workers}
        for report in reports:
            ours = report.owner is Owner.ORCHESTRATOR and report.id not in self.dismissed
            assert not ours or report.status not in ALIVE or report.id in wanted
        self._heal(pool)

    def remove(self, pool: FakePool) -> None:
        pool.orders.clear()
        self.suspects -= pool.workers.keys()
        self.post(e.PoolForgotten(at=self.at, pool_id=PoolId(pool.name)))
        assert self.machine.pool(PoolId(pool.name)) is None

    def beat(self, pool: FakePool) -> None:
        pool_id, session = PoolId(pool.name), pool.session
        if self.machine.beat_refusal(pool_id, session_id(session)) is not None:
            self.register(pool)
            return
        reports = pool.reports()
        self.suspects -= {r.id for r in reports if r.status is WorkerStatus.READY}
        facts = {"session": session, "workers": reports, "draining": pool.draining}
        self.post(pool_beat(pool.name, at=self.at, **facts))
        self._heal(pool)

    def _heal(self, pool: FakePool) -> None:
        wanted = self.machine.wanted(PoolId(pool.name)).workers
        names = {worker.worker_id for worker in wanted}
        for worker in wanted:
            if not pool.draining:
                pool.start(worker.worker_id, worker.spec)
        for worker in pool.workers.values():
            unwanted = worker.owner is Owner.ORCHESTRATOR and worker.id not in names
            if unwanted and worker.status in ALIVE:
                self.kill_worker(worker, WorkerStatus.STOPPED)

    def take_order(self, pool: FakePool, refusal: Code | None) -> None:
        order = pool.orders.pop(0)
        if pool.draining:
            refusal = Code.DRAINING
        if refusal is None and pool.up:
            pool.start(order.worker_id, order.spec)
            return
        fact = e.SpawnRefused(
            at=self.at,
            pool_id=order.pool_id,
            worker_id=order.worker_id,
            reason=refusal or Code.UNREACHABLE,
            message="no",
        )
        self.post(fact)

    def kill_worker(self, worker: FakeWorker, status: WorkerStatus) -> None:
        worker.status = status
        for job in self.jobs.values():
            if job.run is not None and job.run.worker_id == worker.id:
                job.doomed = True

    def stop_worker(self, worker: FakeWorker) -> None:
        self.dismissed.add(worker.id)
        self.post(e.WorkerStopRequested(at=self.at, worker_id=WorkerId(worker.id)))

    # Pumps.

    def accept(self, job: FakeJob) -> None:
        job.accepted = True
        run = self._run(job)
        self.post(e.AttemptAccepted(at=self.at, job_id=run.job_id, attempt=run.attempt))

    def end(self, job: FakeJob) -> None:
        run, job.run = self._run(job), None
        self.post(self.ended_fact(run))

    def ended_fact(self, run: c.Dispatch) -> e.AttemptEnded:
        return e.AttemptEnded(
            at=self.at,
            job_id=run.job_id,
            attempt=run.attempt,
            stop_reason="stop",
            tokens_out=1,
            usage=Usage(),
            timings=Timings(),
        )

    def break_off(
        self,
        job: FakeJob,
        reason: Code,
        *,
        retriable: bool,
        more: int = 0,
        resumable: bool = False,
        computing: bool = False,
    ) -> None:
        run, job.run = self._run(job), None
        if reason in (Code.WORKER_LOST, Code.UNREACHABLE):
            # No beat of the same moment counts as newer.
            self.suspects.add(run.worker_id)
            self.at += 0.001
        made = job.kept + more
        if resumable:
            job.kept = made
        if computing:
            self._hold(run)
        fact = e.AttemptBroken(
            at=self.at,
            job_id=run.job_id,
            attempt=run.attempt,
            reason=reason,
            message="it broke",
            retriable=retriable,
            tokens_kept=made,
            resumable=resumable,
            computing=computing,
        )
        self.post(fact)

    def _run(self, job: FakeJob) -> c.Dispatch:
        assert job.run is not None
        return job.run

    # The orchestrator itself.

    def restart(self, *, cancels: bool = False, resumable: bool = False) -> None:
        """Lose the machine; the rows and the pools stay, every socket is gone."""
        self.nonce += 1
        self.machine = Machine(nonce=self.nonce, limits=LIMITS, validate=True)
        self.turns = 0
        self.suspects.clear()
        self.holds.clear()
        for pool in self.pools.values():
            pool.orders.clear()
        for job in sorted(self.jobs.values(), key=_age):
            run, job.run = job.run, None
            if job.finish is not None:
                continue
            self.turns += 1
            job.turn = self.turns
            tokens = job.kept + (2 if run else 0)
            job.kept = tokens if resumable else 0
            fact = e.JobRestored(
                at=self.at,
                job=job.facts,
                attempt=job.attempt,
                was_alive=run is not None,
                tokens_kept=tokens,
                resumable=resumable,
                cancel_requested=cancels and run is not None,
                pool_id=run.pool_id if run and resumable else None,
            )
            self.post(fact)


def _age(job: FakeJob) -> tuple[float, str]:
    return job.facts.queued_at, job.facts.id
