"""How fast a long act moves and when it will be done: pure, told the time with each look.

The speed is that of the last ten seconds; what was there before the act began is not speed.
"""

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Final

from orchestrator_core.contracts.downloads import DownloadReport, DownloadStage
from orchestrator_core.units import format_bytes, format_duration

__all__ = [
    "Moment",
    "Speed",
    "describe",
    "describe_pace",
    "moment_of",
    "moment_of_file",
    "percent",
]

_WINDOW_S: Final = 10.0
_SHORTEST_S: Final = 0.5
_STEP_S: Final = 0.1
_LONGEST_ETA_S: Final = 100 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An act at one moment; moved_bytes is what counts as speed, None where nothing moves."""

    what: str
    stage: str
    file: str | None = None
    place: str | None = None
    done_bytes: int = 0
    total_bytes: int | None = None
    moved_bytes: int | None = None
    note: str | None = None
    speed_bytes_s: float | None = None
    eta_s: float | None = None


class Speed:
    """Adds speed and the time that is left to moments, in the order in which they come."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def measure(self, moment: Moment, now_s: float) -> Moment:
        """The same moment with what the last seconds have shown."""
        if moment.moved_bytes is None:
            self._seen.clear()
            return moment
        if self._seen and moment.moved_bytes < self._seen[-1][1]:
            # A file was thrown away and begun anew: its bytes do not count against the next.
            self._seen.clear()
        self._note(now_s, moment.moved_bytes)
        first_s, first_bytes = self._seen[0]
        if now_s - first_s < _SHORTEST_S:
            return moment
        speed = (moment.moved_bytes - first_bytes) / (now_s - first_s)
        return replace(moment, speed_bytes_s=speed, eta_s=_eta_s(moment, speed))

    def _note(self, now_s: float, moved_bytes: int) -> None:
        seen = self._seen
        if len(seen) > 1 and now_s - seen[-2][0] < _STEP_S:
            seen.pop()
        seen.append((now_s, moved_bytes))
        # The last one from before the window stays, so that the window is covered as a whole.
        while len(seen) > 2 and seen[1][0] <= now_s - _WINDOW_S:
            seen.popleft()


def _eta_s(moment: Moment, speed_bytes_s: float) -> float | None:
    if moment.total_bytes is None or speed_bytes_s <= 0:
        return None
    eta_s = max(moment.total_bytes - moment.done_bytes, 0) / speed_bytes_s
    return eta_s if eta_s <= _LONGEST_ETA_S else None


def moment_of(report: DownloadReport) -> Moment:
    """What a download says of itself."""
    many = report.files_total > 1
    number = min(report.files_done + 1, report.files_total)
    moving = report.stage is DownloadStage.TRANSFERRING
    return Moment(
        what=report.model,
        stage=report.stage.value,
        file=report.file,
        place=f"file {number} of {report.files_total}" if many else None,
        done_bytes=report.done_bytes,
        total_bytes=report.total_bytes,
        moved_bytes=report.fetched_bytes if moving else None,
        note=report.note,
    )


def moment_of_file(stage: str, file: str, done_bytes: int, total_bytes: int) -> Moment:
    """What is told of a file that is read through."""
    return Moment(
        what=file,
        stage=stage,
        done_bytes=done_bytes,
        total_bytes=total_bytes,
        moved_bytes=done_bytes,
    )


def percent(moment: Moment) -> int | None:
    """How much is done, of what is known to be there."""
    if not moment.total_bytes:
        return None
    return min(100 * moment.done_bytes // moment.total_bytes, 100)


def describe(moment: Moment) -> str:
    """Spell a moment in one line."""
    where = [moment.place, moment.file if moment.place else None]
    done, parts = percent(moment), [" ".join(part for part in where if part)]
    if done is not None and moment.total_bytes is not None:
        parts.append(f"{done} % of {format_bytes(moment.total_bytes)}")
    parts.append(describe_pace(moment))
    if moment.note:
        parts.append(moment.note)
    told = ", ".join(part for part in parts if part)
    return f"{moment.what}: {moment.stage}" + (f" {told}" if told else " ...")


def describe_pace(moment: Moment) -> str:
    """Spell the speed, and the time that is left in whole seconds."""
    if moment.speed_bytes_s is None:
        return ""
    speed = f"{format_bytes(round(moment.speed_bytes_s))}/s"
    if moment.eta_s is None:
        return speed
    seconds = math.ceil(moment.eta_s)
    left = f"{seconds} s" if seconds < 60 else format_duration(seconds)
    return f"{speed}, {left} left"
