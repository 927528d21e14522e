"""Draws fresh ids: time from a Clock, randomness from the operating system or a seed."""

import random
import secrets
from collections.abc import Callable

from orchestrator_core import ids
from orchestrator_core.clock import Clock

__all__ = ["BitPool", "IdSource"]

_COUNTER_BITS = 74
_BLOCK_BITS = 4096


class BitPool:
    """Random bits of the operating system, fetched in blocks.

    Fetching is a system call that also gives up the interpreter, which a busy loop then has to
    win back from the thread that writes to disk: too much for every request.
    """

    def __init__(self) -> None:
        self._bits = 0
        self._left = 0

    def __call__(self, count: int) -> int:
        """Hand out bits that nobody has seen."""
        if count > self._left:
            self._left = max(count, _BLOCK_BITS)
            self._bits = secrets.randbits(self._left)
        drawn = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._left -= count
        return drawn


class IdSource:
    """Makes ids that sort in the order of their making, also within one millisecond."""

    def __init__(self, clock: Clock, draw_bits: Callable[[int], int] | None = None) -> None:
        self._clock = clock
        self._draw_bits = draw_bits or BitPool()
        self._last_ms = 0
        self._last_bits = 0

    @classmethod
    def seeded(cls, clock: Clock, seed: int) -> "IdSource":
        """Make a source whose ids repeat, for tests and simulations."""
        return cls(clock, random.Random(seed).getrandbits)  # noqa: S311 - not a secret

    def download(self) -> ids.DownloadId:
        """A fresh id of a download."""
        return ids.DownloadId(ids.format_id(ids.PREFIX_DOWNLOAD, self._uuid7()))

    def job(self) -> ids.JobId:
        """A fresh job id."""
        return ids.JobId(ids.format_id(ids.PREFIX_JOB, self._uuid7()))

    def key(self) -> ids.KeyId:
        """A fresh API key id."""
        return ids.KeyId(ids.format_id(ids.PREFIX_KEY, self._uuid7()))

    def session(self) -> ids.SessionId:
        """A fresh pool session id."""
        return ids.SessionId(ids.format_id(ids.PREFIX_SESSION, self._uuid7()))

    def worker(self) -> ids.WorkerId:
        """A fresh worker id."""
        return ids.WorkerId(ids.format_id(ids.PREFIX_WORKER, self._uuid7()))

    def _uuid7(self) -> int:
        now_ms = self._clock.unix_ms()
        if now_ms > self._last_ms:
            # One bit of head room keeps the increments below from running over.
            self._last_ms, self._last_bits = now_ms, self._draw_bits(_COUNTER_BITS - 1)
        else:
            self._last_bits += 1 + self._draw_bits(16)
        return ids.compose_uuid7(self._last_ms, self._last_bits)
