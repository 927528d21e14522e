"""Decides how long a loading worker is waited for: progress earns time, silence does not. Pure.

A large model on a slow disk loads for many minutes and a stuck one looks the same from outside,
so what counts is whether anything moves: its log, its memory, what it reads, then its CPU time.
"""

from dataclasses import dataclass
from typing import Final

from orchestrator_core.units import format_duration

__all__ = ["LoadPatience", "LoadWatch", "Signs"]

_LOADED_BYTES: Final = 1 << 20
_READ_BYTES: Final = 1 << 18
# A worker that only answers our questions uses less of a core than this.
_BUSY_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class LoadPatience:
    """The spans; total grows with the file, since no disk is promised to be fast."""

    quiet_s: float = 120.0
    computing_s: float = 600.0
    total_s: float = 1800.0
    slowest_bytes_per_s: int = 4 << 20


@dataclass(frozen=True, slots=True)
class Signs:
    """What a process shows of its work; a fact that this system does not tell stays 0."""

    log_bytes: int = 0
    resident_bytes: int = 0
    read_bytes: int = 0
    cpu_s: float = 0.0


class LoadWatch:
    """Follows the signs of one load."""

    def __init__(self, patience: LoadPatience, *, model_bytes: int, now_s: float) -> None:
        self._patience = patience
        self._total_s = max(patience.total_s, model_bytes / patience.slowest_bytes_per_s)
        self._began_s = self._moved_s = self._computed_s = self._seen_s = now_s
        self._base = Signs()
        self._cpu_s = 0.0

    def observe(self, signs: Signs, *, now_s: float) -> str | None:
        """Take the newest signs; a text says why the load is given up."""
        if self._has_moved(signs):
            self._base, self._moved_s = signs, now_s
        if signs.cpu_s - self._cpu_s > _BUSY_SHARE * (now_s - self._seen_s):
            self._computed_s = now_s
        self._cpu_s, self._seen_s = signs.cpu_s, now_s
        return self._verdict(now_s)

    def _has_moved(self, signs: Signs) -> bool:
        base = self._base
        return (
            signs.log_bytes != base.log_bytes
            or signs.read_bytes - base.read_bytes >= _READ_BYTES
            or abs(signs.resident_bytes - base.resident_bytes) >= _LOADED_BYTES
        )

    def _verdict(self, now_s: float) -> str | None:
        still_s = now_s - self._moved_s
        idle_s = now_s - max(self._moved_s, self._computed_s)
        if idle_s >= self._patience.quiet_s:
            return f"stuck: nothing has moved for {format_duration(idle_s)}"
        if still_s >= self._patience.computing_s:
            return f"stuck: it computes, but nothing has come of it for {format_duration(still_s)}"
        if now_s - self._began_s >= self._total_s:
            return f"still not ready after {format_duration(now_s - self._began_s)}"
        return None
