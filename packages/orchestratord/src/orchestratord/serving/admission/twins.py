"""Idempotency keys: which are valid, what a body is known by, and one admission per key at a time.

A key names a job of the caller who sent it first. The store remembers it for as long as the job is
listed; here are only the admissions under way.
"""

import asyncio
import contextlib
import hashlib
import re
from collections.abc import AsyncGenerator
from typing import Final

import orjson

from orchestrator_core.contracts.tasks import TaskSubmit
from orchestrator_core.errors import Code, Refusal, error_for
from orchestrator_core.ids import KeyId

__all__ = ["Claims", "key_fault", "mismatch", "submission_hash"]

_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_UNDER_WAY: Final = 4096

_Name = tuple[KeyId, str]


def key_fault(key: str, *others: str) -> Refusal | None:
    """Why an Idempotency-Key cannot be taken; of two nobody knows which one counts."""
    if _KEY.fullmatch(key) and not others:
        return None
    message = "Idempotency-Key must be there once, as 1 to 255 visible ASCII letters without blanks"
    return Refusal(Code.INVALID_REQUEST, message, {"param": "Idempotency-Key"})


def submission_hash(task: TaskSubmit) -> str:
    """What a submission is known by: its fields as they were sent, whatever their order.

    The model counts as it was named and a seed only when one was given, so that the same body gives
    the same hash at every time.
    """
    words = task.model_dump(mode="json", exclude_none=True)
    return hashlib.sha256(orjson.dumps(words, option=orjson.OPT_SORT_KEYS)).hexdigest()


def mismatch() -> Refusal:
    """The refusal of a key that came back with another body."""
    message = "this Idempotency-Key was used with another body: send a new key for a new job"
    return Refusal(Code.IDEMPOTENCY_MISMATCH, message, {"param": "Idempotency-Key"})


class _Turn:
    """The admissions of one key, one behind the other."""

    __slots__ = ("lock", "users")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Claims:
    """Lets one admission per key and caller through at a time; its twins wait in their order."""

    def __init__(self, limit: int = _UNDER_WAY) -> None:
        self._limit = limit
        self._under_way: dict[_Name, _Turn] = {}
        self.replays = 0

    def __len__(self) -> int:
        return len(self._under_way)

    @contextlib.asynccontextmanager
    async def only(self, key_id: KeyId, key: str) -> AsyncGenerator[None]:
        """Hold a key for a block; CapacityError when too many keys are held already."""
        name = (key_id, key)
        turn = self._under_way.get(name)
        if turn is None:
            if len(self._under_way) >= self._limit:
                text = f"{self._limit} submissions with an Idempotency-Key are under way: try again"
                raise error_for(Refusal(Code.QUEUE_FULL, text, retry_after_s=1))
            turn = self._under_way[name] = _Turn()
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._under_way[name]
