"""Tells how a transfer goes: at once when something changes, else at most ten times a second."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from orchestrator_core.clock import Clock
from orchestrator_core.contracts.downloads import DownloadStage

__all__ = ["Teller", "TransferNews"]

_INTERVAL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class TransferNews:
    """One file at one moment; done_bytes counts what was here before, fetched_bytes does not.

    While it is verified, done_bytes counts what has been read so far.
    """

    stage: DownloadStage
    done_bytes: int
    total_bytes: int
    fetched_bytes: int
    note: str | None = None
    source: str | None = None


class Teller:
    """Hands news on; what comes too fast and changes only numbers is left out."""

    def __init__(self, tell: Callable[[TransferNews], None], clock: Clock) -> None:
        self._tell = tell
        self._clock = clock
        self._last: TransferNews | None = None
        self._due_s = 0.0
        self._fetched_bytes = 0

    @property
    def fetched_bytes(self) -> int:
        """What the last news said of the bytes that came, told or left out."""
        return self._fetched_bytes

    def __call__(self, news: TransferNews) -> None:
        """Tell it, or leave it out."""
        self._fetched_bytes = news.fetched_bytes
        last, now_s = self._last, self._clock.monotonic_s()
        is_same = last is not None and (last.stage, last.note, last.source) == (
            news.stage,
            news.note,
            news.source,
        )
        if is_same and now_s < self._due_s:
            return
        self._last, self._due_s = news, now_s + _INTERVAL_S
        self._tell(news)
