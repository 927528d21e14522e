"""The order in which the jobs of one sub-queue are served; this is the room for ordering rules.

FifoQueue keeps (queued_at, id) order. Jobs mostly arrive in order, so they go to a line with O(1)
ends; a job that returns to its old place goes to a heap beside it. Removal marks, it never scans.
"""

import heapq
from collections import deque
from typing import Protocol

from orchestrator_core.ids import JobId

__all__ = ["FifoQueue", "JobQueue"]

_Entry = tuple[float, JobId]

_GARBAGE_FLOOR = 64


class JobQueue(Protocol):
    """What the scheduler asks of an order, whatever the rule."""

    def enqueue(self, job_id: JobId, queued_at: float) -> None:
        """Put a job at its place; a job that is in already raises ValueError."""
        ...

    def dequeue(self) -> JobId | None:
        """Take the job that is next."""
        ...

    def peek(self) -> JobId | None:
        """Name the job that is next."""
        ...

    def head_key(self) -> tuple[float, JobId] | None:
        """The key of the job that is next, to compare the heads of several queues."""
        ...

    def remove(self, job_id: JobId) -> bool:
        """Take a job out of the middle; False if it is not in."""
        ...

    def positions(self) -> list[JobId]:
        """All jobs in the order in which they will be served."""
        ...

    def count_before(self, queued_at: float, job_id: JobId) -> int:
        """How many jobs are served before one with this key; the key may be of another queue."""
        ...

    def __contains__(self, job_id: object) -> bool: ...

    def __len__(self) -> int: ...


class FifoQueue:
    """First come, first served by (queued_at, id); dead entries never outnumber the living."""

    __slots__ = ("_line", "_members", "_strays")

    def __init__(self) -> None:
        self._line: deque[_Entry] = deque()
        self._strays: list[_Entry] = []
        # An entry lives while it is the very object that stands here for its job.
        self._members: dict[JobId, _Entry] = {}

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, job_id: object) -> bool:
        return job_id in self._members

    def enqueue(self, job_id: JobId, queued_at: float) -> None:
        """Put a job at its place; a job that is in already raises ValueError."""
        if job_id in self._members:
            raise ValueError(f"{job_id} is queued already")
        entry = (queued_at, job_id)
        self._members[job_id] = entry
        if not self._line or entry > self._line[-1]:
            self._line.append(entry)
        else:
            heapq.heappush(self._strays, entry)

    def dequeue(self) -> JobId | None:
        """Take the job that is next."""
        strays = self._strays
        if not strays:
            line = self._line
            if not line:
                return None
            entry = line.popleft()
        else:
            head = self._head()
            if head is None:
                return None
            entry = self._line.popleft() if head is not strays[0] else heapq.heappop(strays)
        del self._members[entry[1]]
        self._prune()
        return entry[1]

    def peek(self) -> JobId | None:
        """Name the job that is next."""
        if not self._strays:
            return self._line[0][1] if self._line else None
        head = self._head()
        return None if head is None else head[1]

    def head_key(self) -> tuple[float, JobId] | None:
        """The key of the job that is next, to compare the heads of several queues."""
        return self._head()

    def remove(self, job_id: JobId) -> bool:
        """Take a job out of the middle; False if it is not in."""
        if self._members.pop(job_id, None) is None:
            return False
        self._prune()
        if len(self._line) + len(self._strays) > 2 * len(self._members) + _GARBAGE_FLOOR:
            self._line = deque(sorted(self._members.values()))
            self._strays = []
        return True

    def positions(self) -> list[JobId]:
        """All jobs in the order in which they will be served."""
        return [job_id for _, job_id in sorted(self._members.values())]

    def count_before(self, queued_at: float, job_id: JobId) -> int:
        """How many jobs are served before one with this key; the newest job is found at once."""
        key = (queued_at, job_id)
        if not self._strays and self._line and key >= self._line[-1]:
            return len(self._members) - (job_id in self._members)
        return sum(entry < key for entry in self._members.values())

    def _head(self) -> _Entry | None:
        # Both fronts are alive: _prune runs after every change that could kill one.
        if not self._strays:
            return self._line[0] if self._line else None
        if not self._line or self._strays[0] < self._line[0]:
            return self._strays[0]
        return self._line[0]

    def _prune(self) -> None:
        members, line, strays = self._members, self._line, self._strays
        while line and members.get(line[0][1]) is not line[0]:
            line.popleft()
        while strays and members.get(strays[0][1]) is not strays[0]:
            heapq.heappop(strays)
