"""What is live now, in jobs and bytes: in all, per key and per model; says which bound is reached.

The gate enters a job before anything is awaited, recovery enters what it restores, and LiveJobs
tells of every job that leaves. Pure.
"""

from dataclasses import dataclass
from typing import TypeVar

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import JobId, KeyId

__all__ = ["Ledger", "QueueBounds"]

K = TypeVar("K")


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueBounds:
    """How much may wait or run at one time."""

    jobs: int
    size_bytes: int
    jobs_of_key: int
    jobs_of_model: int


# Whose job it is, for which model, and the bytes of its request.
_Entry = tuple[KeyId, str, int]


class Ledger:
    """One entry per live job; every bound is a look-up."""

    def __init__(self, bounds: QueueBounds) -> None:
        self._bounds = bounds
        self._entries: dict[JobId, _Entry] = {}
        self._size_bytes = 0
        self._of_key: dict[KeyId, int] = {}
        self._of_model: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Bytes of all requests that are live."""
        return self._size_bytes

    def jobs_of_key(self, key_id: KeyId) -> int:
        """Live jobs of one key."""
        return self._of_key.get(key_id, 0)

    def jobs_of_model(self, model: str) -> int:
        """Live jobs for one model."""
        return self._of_model.get(model, 0)

    def enter(self, job_id: JobId, key_id: KeyId, model: str, size_bytes: int) -> Refusal | None:
        """Take a place for a new job, or say which bound leaves none."""
        bounds = self._bounds
        of_key, of_model = self._of_key.get(key_id, 0), self._of_model.get(model, 0)
        if (
            len(self._entries) >= bounds.jobs
            or of_key >= bounds.jobs_of_key
            or of_model >= bounds.jobs_of_model
            or self._size_bytes + size_bytes > bounds.size_bytes
        ):
            return self._refusal(key_id, model, size_bytes)
        self._entries[job_id] = (key_id, model, size_bytes)
        self._size_bytes += size_bytes
        self._of_key[key_id] = of_key + 1
        self._of_model[model] = of_model + 1
        return None

    def _refusal(self, key_id: KeyId, model: str, size_bytes: int) -> Refusal:
        bounds = self._bounds
        if len(self._entries) >= bounds.jobs:
            return _full("queue_limit", bounds.jobs, f"{bounds.jobs} jobs wait or run")
        if self.jobs_of_key(key_id) >= bounds.jobs_of_key:
            text = f"{bounds.jobs_of_key} jobs of this key wait or run"
            return _full("key_queue_limit", bounds.jobs_of_key, text)
        if self.jobs_of_model(model) >= bounds.jobs_of_model:
            text = f"{bounds.jobs_of_model} jobs for {model} wait or run"
            return _full("model_queue_limit", bounds.jobs_of_model, text)
        if size_bytes > bounds.size_bytes:
            text = f"a request of {size_bytes} bytes never fits: the limit is {bounds.size_bytes}"
            return Refusal(Code.TOO_LARGE, f"{text} (queue_bytes_limit); send less text")
        text = f"the requests that wait or run fill {self._size_bytes} bytes"
        return _full("queue_bytes_limit", bounds.size_bytes, text)

    def restore(self, job_id: JobId, key_id: KeyId, model: str, size_bytes: int) -> None:
        """Enter a job that was taken before a restart; it has its place whatever the bounds say."""
        self._entries[job_id] = (key_id, model, size_bytes)
        self._size_bytes += size_bytes
        self._of_key[key_id] = self._of_key.get(key_id, 0) + 1
        self._of_model[model] = self._of_model.get(model, 0) + 1

    def leave(self, job_id: JobId) -> None:
        """Give a job's place back; one that holds none is no mistake."""
        entry = self._entries.pop(job_id, None)
        if entry is None:
            return
        key_id, model, size_bytes = entry
        self._size_bytes -= size_bytes
        _take_one(self._of_key, key_id)
        _take_one(self._of_model, model)


def _take_one(counts: dict[K, int], name: K) -> None:
    # A count of zero goes, so that keys and models of the past do not pile up.
    left = counts[name] - 1
    if left:
        counts[name] = left
    else:
        del counts[name]


def _full(setting: str, limit: int, text: str) -> Refusal:
    message = f"{text}, which is the limit ({setting}): try again when some have ended"
    return Refusal(Code.QUEUE_FULL, message, {"bound": setting, "limit": limit})
