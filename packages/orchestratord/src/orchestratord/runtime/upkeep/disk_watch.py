"""Looks at the free space under the store once a second, and says when it is short.

What it finds goes to the store, where admission asks for it, and to the log at each change. It also
makes the ballast anew as soon as there is room for it.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import MIB
from orchestratord.store.ballast import Ballast
from orchestratord.store.port import JobStore

__all__ = ["DiskWatch", "is_short"]

_log = structlog.get_logger(__name__)
_PERIOD_S: Final = 1.0
_RETRY_AFTER_S: Final = 30
# Space that comes and goes around the limit must not open and close the door every second.
_SLACK: Final = 10


def is_short(*, was_short: bool, free_bytes: int, wanted_bytes: int) -> bool:
    """Judge the free space; to be enough again it takes a tenth more than to be enough still."""
    return free_bytes < wanted_bytes + (wanted_bytes // _SLACK if was_short else 0)


class DiskWatch:
    """The space under one store and the ballast that lies there."""

    def __init__(
        self,
        *,
        store: JobStore,
        ballast: Ballast,
        folder: Path,
        reserve_bytes: int,
        on_short: Callable[[], None],
    ) -> None:
        self._store = store
        self._ballast = ballast
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._on_short = on_short
        self._is_short = False
        self._was_full = False

    def look(self) -> None:
        """Judge the space as it is now."""
        vitals = self._store.vitals()
        self._tell_full(full=vitals.full)
        if vitals.free_bytes is None:
            return
        # Ballast that is not there yet is space that is spoken for.
        wanted_bytes = self._reserve_bytes + self._ballast.missing_bytes
        was_short = self._is_short
        self._is_short = is_short(
            was_short=was_short, free_bytes=vitals.free_bytes, wanted_bytes=wanted_bytes
        )
        refusal = self._refusal(vitals.free_bytes, wanted_bytes) if self._is_short else None
        self._store.low_on_space = refusal
        if refusal is not None and not was_short:
            _log.warning("disk.low", reason=refusal.message)
            self._on_short()
        elif refusal is None and was_short:
            _log.info("disk.enough", free_bytes=vitals.free_bytes, folder=str(self._folder))

    async def watch_for_ever(self, period_s: float = _PERIOD_S) -> None:
        """Look once per period, and hold the ballast whole while there is room, until cancelled."""
        while True:
            self.look()
            if self._ballast.missing_bytes and not self._is_short:
                # Where the system cannot reserve blocks, this writes all of it.
                await asyncio.to_thread(self._ballast.make)
            await asyncio.sleep(period_s)

    def _refusal(self, free_bytes: int, wanted_bytes: int) -> Refusal:
        text = (
            f"{free_bytes // MIB} MiB are free under {self._folder} and {wanted_bytes // MIB} MiB "
            "are wanted: free some space, then try again"
        )
        return Refusal(Code.DISK_LOW, text, retry_after_s=_RETRY_AFTER_S)

    def _tell_full(self, *, full: bool) -> None:
        if full and not self._was_full:
            _log.error("disk.full", folder=str(self._folder))
            self._on_short()
        elif self._was_full and not full:
            _log.info("disk.writable", folder=str(self._folder))
        self._was_full = full
