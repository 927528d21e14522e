"""Prints how many placements a second the machine decides, and how that depends on the backlog.

Run: python tests/bench/machine_placements.py [rounds]
1,000 workers of 4 slots serve 50 models. All slots are busy; every ended attempt frees a slot and
places the next job of its sub-queue, every arrival joins the backlog. Events are made beforehand.
"""

import gc
import statistics
import sys
import time
from dataclasses import dataclass, field

from orchestrator_core.contracts.tasks import Timings, Usage
from orchestrator_core.scheduler.commands import Command, Dispatch
from orchestrator_core.scheduler.events import AttemptAccepted, AttemptEnded, JobArrived
from orchestrator_core.scheduler.machine import Machine
from orchestrator_core.testing.facts import job_facts, pool_registered
from orchestrator_core.testing.reports import worker_report, worker_spec

MODELS, POOLS, WORKERS, SLOTS = 50, 100, 1000, 4
BATCH = 500  # Well below the smaller backlog, so that every freed slot finds a job.
SPECS = [worker_spec(f"model-{number}", parallel=SLOTS) for number in range(MODELS)]
USAGE, TIMINGS = Usage(), Timings()


@dataclass
class Cluster:
    """A full cluster with a backlog."""

    machine: Machine
    at: float = 0.0
    jobs: int = 0
    running: list[Dispatch] = field(default_factory=list)

    def arrivals(self, count: int) -> list[JobArrived]:
        events = []
        for _ in range(count):
            self.jobs += 1
            self.at += 0.0001
            spec = SPECS[self.jobs % MODELS]
            job = job_facts(self.jobs, spec=spec, queued_at=self.at)
            events.append(JobArrived(at=self.at, job=job))
        return events

    def endings(self) -> list[AttemptEnded]:
        ended, self.running = self.running[:BATCH], self.running[BATCH:]
        for run in ended:
            fact = AttemptAccepted(at=self.at, job_id=run.job_id, attempt=run.attempt)
            self.machine.handle(fact)
        return [
            AttemptEnded(
                at=self.at,
                job_id=run.job_id,
                attempt=run.attempt,
                stop_reason="stop",
                tokens_out=1,
                usage=USAGE,
                timings=TIMINGS,
            )
            for run in ended
        ]


def build(pending: int) -> Cluster:
    cluster = Cluster(Machine(nonce=1))
    each = WORKERS // POOLS
    for pool in range(POOLS):
        workers = [
            worker_report(f"wrk_{pool:03}_{n:02}", spec=SPECS[(pool * each + n) % MODELS])
            for n in range(each)
        ]
        cluster.machine.handle(pool_registered(f"pool-{pool:03}", workers=workers))
    for event in cluster.arrivals(WORKERS * SLOTS + pending):
        keep_dispatches(cluster, cluster.machine.handle(event))
    assert len(cluster.running) == WORKERS * SLOTS
    assert cluster.machine.waiting == pending
    return cluster


def keep_dispatches(cluster: Cluster, commands: list[Command]) -> None:
    cluster.running += [command for command in commands if isinstance(command, Dispatch)]


def timed(machine: Machine, events: list) -> tuple[float, list[list[Command]]]:
    handle = machine.handle
    started = time.perf_counter()
    answers = [handle(event) for event in events]
    return time.perf_counter() - started, answers


def measure(pending: int, rounds: int) -> tuple[float, float]:
    """Placements and arrivals a second, the median round of each."""
    gc.collect()
    cluster = build(pending)
    gc.freeze()
    placed_s: list[float] = []
    arrived_s: list[float] = []
    for _ in range(rounds):
        endings = cluster.endings()
        took_s, answers = timed(cluster.machine, endings)
        placed_s.append(took_s / len(endings))
        placed = len(cluster.running)
        for commands in answers:
            keep_dispatches(cluster, commands)
        assert len(cluster.running) - placed == BATCH
        arrivals = cluster.arrivals(len(endings))
        took_s, _ = timed(cluster.machine, arrivals)
        arrived_s.append(took_s / len(arrivals))
    gc.unfreeze()
    return 1 / statistics.median(placed_s), 1 / statistics.median(arrived_s)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    results = {pending: measure(pending, rounds) for pending in (1_000, 100_000)}
    for pending, (placements, arrivals) in results.items():
        print(
            f"{pending:>7,} pending x {WORKERS:,} workers x {MODELS} models: "
            f"{placements:>9,.0f} placements/s, {arrivals:>9,.0f} arrivals/s"
        )
    small, large = results.values()
    print(
        f"ratio 1k/100k: placements {small[0] / large[0]:.2f}, arrivals {small[1] / large[1]:.2f}"
    )


if __name__ == "__main__":
    main()
