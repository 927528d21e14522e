"""Lets go of ended jobs in two stages, a few at a time: their texts first, their rows later.

It runs once a minute and at once when somebody says that the disk is short of space.
"""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from orchestrator_core.clock import Clock
from orchestrator_core.errors import LlorchError
from orchestratord.store.port import JobStore
from orchestratord.store.writes import Purge, PurgeUsage, Strip

__all__ = ["Retention"]

_log = structlog.get_logger(__name__)
_PERIOD_S: Final = 60.0
_MS_PER_HOUR: Final = 3_600_000
_USAGE_H: Final = 400 * 24.0
# A long answer has a thousand events, and no admission shall wait long behind their deletion.
_STRIP_BATCH: Final = 20
_PURGE_BATCH: Final = 200

_Stage = Callable[[int, int], Strip | Purge | PurgeUsage]


class Retention:
    """The three ages after which something is deleted."""

    def __init__(
        self, *, store: JobStore, clock: Clock, retention_h: float, history_h: float
    ) -> None:
        self._store = store
        self._clock = clock
        # Nobody is listed with a text that outlives the listing.
        self._strip_h = min(retention_h, history_h)
        self._history_h = history_h
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """Do not wait for the minute to end."""
        self._hurry.set()

    async def run_for_ever(self, period_s: float = _PERIOD_S) -> None:
        """Delete what is old enough, again and again until cancelled."""
        while True:
            self._hurry.clear()
            await self.run_once()
            await self._pause(period_s)

    async def run_once(self) -> None:
        """Delete all that is old enough now; a store that refuses is asked again another time."""
        try:
            # Rows first: what goes as a whole need not lose its texts before.
            await self._clear("purged", self._history_h, _PURGE_BATCH, _purge)
            await self._clear("stripped", self._strip_h, _STRIP_BATCH, _strip)
            await self._clear("usage_purged", _USAGE_H, _PURGE_BATCH, _purge_usage)
        except LlorchError as problem:
            _log.warning("retention.failed", reason=problem.refusal.message)

    async def _clear(self, name: str, age_h: float, batch: int, stage: _Stage) -> None:
        before_ms = self._clock.unix_ms() - int(age_h * _MS_PER_HOUR)
        rows = 0
        try:
            while deleted := await self._store.submit(stage(before_ms, batch)):
                rows += deleted
        finally:
            if rows:
                _log.info(f"retention.{name}", rows=rows)

    async def _pause(self, period_s: float) -> None:
        try:
            async with asyncio.timeout(period_s):
                await self._hurry.wait()
        except TimeoutError:
            return


def _strip(before_ms: int, limit: int) -> Strip:
    return Strip(before_ms=before_ms, limit=limit)


def _purge(before_ms: int, limit: int) -> Purge:
    return Purge(before_ms=before_ms, limit=limit)


def _purge_usage(before_ms: int, limit: int) -> PurgeUsage:
    return PurgeUsage(before_ms=before_ms, limit=limit)
