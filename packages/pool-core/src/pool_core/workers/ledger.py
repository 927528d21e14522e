"""Remembers workers across restarts of the daemon: one record and one key file per worker.

A record is written before its process is started and again when the process is known, so that no
crash in between can leave a process that nobody remembers.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from orchestrator_core.contracts.base import Fact
from orchestrator_core.contracts.pool import Owner, WorkerSpec
from orchestrator_core.errors import Code
from orchestrator_core.ids import PREFIX_WORKER, is_id
from orchestrator_core.platforms.files import ensure_folder, write_atomically
from orchestrator_core.platforms.port import ProcessIdentity
from pool_core.workers.log_cutting import prune_logs
from pool_core.workers.restart import End

__all__ = ["Ledger", "Loaded", "WorkerRecord"]

_TAIL_BYTES: Final = 64 * 1024


class WorkerRecord(Fact):
    """What must survive us to know a worker again; without a pid it is only an intent.

    order is the spec as it was ordered, spec the same with the pool's choices filled in. A record
    with a failure is of a worker that has ended and that a person has not yet cleared away.
    """

    id: str
    name: str
    owner: Owner
    generation: int
    incarnation: int
    order: WorkerSpec
    spec: WorkerSpec
    port: int
    started_at: str
    started_unix_ms: int
    needed_bytes: dict[str, int] = Field(default_factory=dict[str, int])
    log_offset: int = 0
    pid: int | None = None
    start_time: int | None = None
    boot_id: str | None = None
    ready_at: str | None = None
    engine_version: str | None = None
    ends: tuple[End, ...] = ()
    parked: bool = False
    failure_code: Code | None = None
    failure_message: str = ""

    @property
    def has_served(self) -> bool:
        """True for a worker that was ready once, in this process or in an earlier one."""
        return self.ready_at is not None or bool(self.ends)

    def identity(self) -> ProcessIdentity | None:
        """The process of this record; None for an intent."""
        if self.pid is None or self.start_time is None or self.boot_id is None:
            return None
        return ProcessIdentity(self.pid, self.start_time, self.boot_id)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a folder holds; unreadable records were renamed out of the way."""

    records: list[WorkerRecord]
    set_aside: list[Path]


class Ledger:
    """The files of one pool's workers."""

    def __init__(self, folder: Path) -> None:
        self._records = folder / "workers"
        self.logs_folder = folder / "logs"

    def prepare(self) -> None:
        """Make the folders."""
        ensure_folder(self._records)
        ensure_folder(self.logs_folder)

    def key_path(self, worker_id: str) -> Path:
        """Where the worker's key lies."""
        return self._records / f"{worker_id}.key"

    def log_path(self, worker_id: str) -> Path:
        """What the worker says on stdout and stderr; appended to, never rewritten."""
        return self.logs_folder / f"{worker_id}.log"

    def write(self, record: WorkerRecord) -> None:
        """Store a record for good."""
        data = record.model_dump_json(indent=1).encode()
        write_atomically(self._record_path(record.id), data)

    def write_key(self, worker_id: str, key: str) -> None:
        """Store the key that the worker will ask for."""
        write_atomically(self.key_path(worker_id), f"{key}\n".encode())

    def read_key(self, worker_id: str) -> str | None:
        """The stored key, or None."""
        try:
            return self.key_path(worker_id).read_text("ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def remove(self, worker_id: str) -> None:
        """Forget a worker; its log stays for a person to read."""
        with contextlib.suppress(FileNotFoundError):
            self._record_path(worker_id).unlink()
        with contextlib.suppress(FileNotFoundError):
            self.key_path(worker_id).unlink()

    def set_aside(self, worker_id: str, why: str) -> Path:
        """Keep a record for a person, but never read it again."""
        path = self._record_path(worker_id)
        return path.replace(path.with_suffix(f".{why}"))

    def load(self) -> Loaded:
        """Read every record; one that makes no sense is set aside, never a crash."""
        records: list[WorkerRecord] = []
        aside: list[Path] = []
        for path in sorted(self._records.glob("*.json")):
            record = self._read(path)
            if record is None:
                aside.append(path.replace(path.with_suffix(".unreadable")))
            else:
                records.append(record)
        known = {record.id for record in records}
        for key in self._records.glob("*.key"):
            if key.stem not in known:
                key.unlink(missing_ok=True)
        return Loaded(records, aside)

    def log_size(self, worker_id: str) -> int:
        """Where the next start's words will begin."""
        try:
            return self.log_path(worker_id).stat().st_size
        except FileNotFoundError:
            return 0

    def log_tail(self, worker_id: str, offset: int) -> list[str]:
        """The last lines that were written after an offset."""
        try:
            with self.log_path(worker_id).open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                # A log that a person cut is shorter than it was: then all of it is news.
                start = offset if offset <= size else 0
                log.seek(max(start, size - _TAIL_BYTES))
                return log.read(_TAIL_BYTES).decode("utf-8", "replace").splitlines()
        except OSError:
            return []

    def prune_logs(self, live: set[str]) -> None:
        """Keep the newest logs of ended workers and drop the rest."""
        prune_logs(self.logs_folder, live)

    def _record_path(self, worker_id: str) -> Path:
        return self._records / f"{worker_id}.json"

    def _read(self, path: Path) -> WorkerRecord | None:
        try:
            record = WorkerRecord.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None
        return record if record.id == path.stem and is_id(PREFIX_WORKER, record.id) else None
