"""What will be due, by kind: the times at which the machine wants to be woken."""

from dataclasses import dataclass, field

from orchestrator_core.cluster.workers import ServiceKey
from orchestrator_core.ids import JobId, PoolId, WorkerId
from orchestrator_core.scheduler.heaps import KeyedHeap

__all__ = ["Alarms"]


@dataclass(slots=True, eq=False)
class Alarms:
    """One heap for each kind; a key that is gone never rings.

    deadlines: the job's own deadline or its total time, whichever is earlier. queues: jobs that no
    worker ever took. attempts: running ones. wakeups: the end of a job's backoff. liveness: silent
    pools. starts: orders without a report. loads: workers that come. retries: when a service may
    order again. sweeps: condemned jobs that are left.
    """

    deadlines: KeyedHeap[JobId] = field(default_factory=KeyedHeap[JobId])
    queues: KeyedHeap[JobId] = field(default_factory=KeyedHeap[JobId])
    attempts: KeyedHeap[JobId] = field(default_factory=KeyedHeap[JobId])
    wakeups: KeyedHeap[JobId] = field(default_factory=KeyedHeap[JobId])
    liveness: KeyedHeap[PoolId] = field(default_factory=KeyedHeap[PoolId])
    starts: KeyedHeap[WorkerId] = field(default_factory=KeyedHeap[WorkerId])
    loads: KeyedHeap[WorkerId] = field(default_factory=KeyedHeap[WorkerId])
    retries: KeyedHeap[ServiceKey] = field(default_factory=KeyedHeap[ServiceKey])
    sweeps: KeyedHeap[ServiceKey] = field(default_factory=KeyedHeap[ServiceKey])

    def next_at(self) -> float | None:
        """The earliest of all."""
        # Asked after every event: most heaps are empty most of the time.
        first: float | None = None
        for heap in (
            self.deadlines,
            self.queues,
            self.attempts,
            self.wakeups,
            self.liveness,
            self.starts,
            self.loads,
            self.retries,
            self.sweeps,
        ):
            top = heap.top_rank()
            if top is not None and (first is None or top < first):
                first = top
        return first
