"""Finds and ends the workers of this host that their pool daemon has left behind.

The daemon's records are read as JSON and each names a process for all time; a record without one is
an order that a crash cut short, and its process is known by the mark in its environment.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from orchestrator_core.console.daemons import Daemons, Stopped
from orchestrator_core.console.endings import end_processes
from orchestrator_core.platforms import marks
from orchestrator_core.platforms.port import Platform, ProcessIdentity

__all__ = ["LeftWorker", "end_workers", "find_workers"]

_MARK: Final = "LLORCH_WORKER"


@dataclass(frozen=True, slots=True)
class LeftWorker:
    """A worker whose process is alive."""

    name: str
    identity: ProcessIdentity


def find_workers(records: Path, platform: Platform) -> list[LeftWorker]:
    """Every worker of the records that is alive."""
    return [
        LeftWorker(name, identity)
        for path in sorted(records.glob("*.json"))
        for name, identity in _processes(path, platform)
    ]


def end_workers(daemons: Daemons, *, grace_s: float) -> list[Stopped]:
    """End all left workers together, each with its whole session."""
    workers = find_workers(daemons.layout.worker_records, daemons.platform)
    endings = end_processes(
        [worker.identity for worker in workers],
        daemons.platform.signal_session,
        daemons.platform,
        grace_s=grace_s,
        pace=daemons.pace,
    )
    return [
        Stopped(worker.name, ending, worker.identity.pid)
        for worker, ending in zip(workers, endings, strict=True)
    ]


def _processes(path: Path, platform: Platform) -> Iterator[tuple[str, ProcessIdentity]]:
    record = _read(path)
    name = str(record.get("name") or path.stem)
    match record:
        case {"pid": int(pid), "start_time": int(start_time), "boot_id": str(boot_id)}:
            identity = ProcessIdentity(pid, start_time, boot_id)
            if platform.is_alive(identity):
                yield name, identity
        case _:
            for identity in marks.find_marked(platform, _MARK, path.stem):
                yield name, identity


def _read(path: Path) -> dict[str, object]:
    try:
        record: object = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return cast("dict[str, object]", record) if isinstance(record, dict) else {}
