"""Counts who holds which slots of which worker; the worker's own count is never trusted.

The count outlives the worker's record: attempts go on while a pool is lost, and a worker that
comes back must not be given the slots that they still hold. An attempt that was cut short keeps
its slots until somebody has seen that the worker let go of it.
"""

from orchestrator_core.ids import JobId, WorkerId

__all__ = ["SlotLedger", "WorkerSlots"]


class WorkerSlots:
    """The slots of one worker by (job, attempt); peak is the most the worker ever offered.

    `lingering` names the attempts that are over for us while the worker may still compute them.
    """

    __slots__ = ("holds", "lingering", "peak", "used")

    def __init__(self) -> None:
        self.holds: dict[tuple[JobId, int], int] = {}
        self.lingering: set[tuple[JobId, int]] = set()
        self.used = 0
        self.peak = 0

    def take(self, job_id: JobId, attempt: int, count: int) -> None:
        """Give slots to an attempt."""
        self.holds[job_id, attempt] = count
        self.used += count

    def release(self, job_id: JobId, attempt: int) -> int:
        """Take an attempt's slots back and say how many it held."""
        count = self.holds.pop((job_id, attempt), 0)
        self.used -= count
        return count

    def linger(self, job_id: JobId, attempt: int) -> None:
        """Keep the slots of an attempt that is over until it is seen to be."""
        self.lingering.add((job_id, attempt))

    def let_go(self, job_id: JobId, attempt: int) -> bool:
        """Free the slots of one lingering attempt; False if it does not linger."""
        if (job_id, attempt) not in self.lingering:
            return False
        self.lingering.remove((job_id, attempt))
        self.release(job_id, attempt)
        return True

    def let_all_go(self) -> bool:
        """Free everything that lingers: its process is gone; False if nothing did."""
        if not self.lingering:
            return False
        for job_id, attempt in self.lingering:
            self.release(job_id, attempt)
        self.lingering.clear()
        return True

    @property
    def lingering_slots(self) -> int:
        """Slots that nobody uses and nobody may have yet."""
        return sum(self.holds[key] for key in self.lingering)


class SlotLedger:
    """The slots of every worker that is known or still runs something."""

    __slots__ = ("_workers",)

    def __init__(self) -> None:
        self._workers: dict[WorkerId, WorkerSlots] = {}

    def of(self, worker_id: WorkerId) -> WorkerSlots:
        """The one record of this worker, made at the first question."""
        slots = self._workers.get(worker_id)
        if slots is None:
            slots = self._workers[worker_id] = WorkerSlots()
        return slots

    def find(self, worker_id: WorkerId) -> WorkerSlots | None:
        """The record of this worker, if it has one."""
        return self._workers.get(worker_id)

    def forget_idle(self, worker_id: WorkerId) -> None:
        """Drop the record of a worker that nobody knows any more, unless attempts still run."""
        slots = self._workers.get(worker_id)
        if slots is not None and not slots.holds:
            del self._workers[worker_id]

    def items(self) -> list[tuple[WorkerId, WorkerSlots]]:
        """All records, for the self-checks."""
        return list(self._workers.items())
