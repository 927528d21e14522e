"""Deletes ended jobs once nobody may replay them any more, a few at a time."""

import asyncio
from typing import Final

import structlog

from orchestrator_core.clock import Clock
from orchestrator_core.errors import LlorchError
from orchestratord.store.port import JobStore
from orchestratord.store.writes import Purge

__all__ = ["purge_for_ever"]

_log = structlog.get_logger(__name__)
_PERIOD_S: Final = 60.0
_BATCH: Final = 200
_MS_PER_HOUR: Final = 3_600_000


async def purge_for_ever(store: JobStore, clock: Clock, retention_h: float) -> None:
    """Purge in small batches, so that no admission waits long behind one."""
    while True:
        before_ms = clock.unix_ms() - int(retention_h * _MS_PER_HOUR)
        try:
            while deleted := await store.submit(Purge(before_ms=before_ms, limit=_BATCH)):
                _log.info("retention.purged", jobs=deleted)
        except LlorchError as problem:
            _log.warning("retention.failed", reason=problem.refusal.message)
        await asyncio.sleep(_PERIOD_S)
