"""The models of a store that are whole, remembered as long as its folders do not change.

A store of hundreds of models is asked with every beat and by every other pool that looks for a file.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from orchestrator_core.clock import SystemClock
from orchestrator_core.contracts.pool import ModelReport
from orchestrator_core.errors import Refusal
from pool_core.catalog.store.blobs import Blobs
from pool_core.catalog.store.records import ModelRecord, Records, report_of

__all__ = ["Sound", "SoundModels"]

# A folder that changed within this time may change again within the same tick of its clock.
_SETTLED_MS: Final = 2000


@dataclass(frozen=True, slots=True)
class Sound:
    """The whole models at one moment, as records and as reports, and the size of each content."""

    records: tuple[ModelRecord, ...] = ()
    reports: tuple[ModelReport, ...] = ()
    sizes: dict[str, int] = field(default_factory=dict[str, int])


class SoundModels:
    """Looks again when a record or a content has come or gone; safe to share between threads."""

    def __init__(
        self, records: Records, blobs: Blobs, fault_of: Callable[[ModelRecord], Refusal | None]
    ) -> None:
        self._records = records
        self._blobs = blobs
        self._fault_of = fault_of
        self._lock = threading.Lock()
        self._seen: tuple[int, int] | None = None
        self._sound = Sound()

    def now(self) -> Sound:
        """Every model that is whole; cheap as long as nothing changes."""
        with self._lock:
            seen = (_changed_ns(self._records.folder), _changed_ns(self._blobs.folder))
            if seen != self._seen:
                self._sound = self._look()
                self._seen = seen if _is_settled(max(seen)) else None
            return self._sound

    def _look(self) -> Sound:
        records = tuple(it for it in self._records.all() if self._fault_of(it) is None)
        sizes = {sha256: size for record in records for sha256, size in record.blobs.items()}
        return Sound(records, tuple(map(report_of, records)), sizes)


def _is_settled(changed_ns: int) -> bool:
    # The file system has stamped the folder, so that only the machine's own clock compares.
    return SystemClock().unix_ms() - changed_ns // 1_000_000 > _SETTLED_MS


def _changed_ns(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
