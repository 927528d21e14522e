"""Remembers workers across restarts of the daemon: one record and one key file per worker.

A record is written before its process is started and again when the process is known, so that no
crash in between can leave a process that nobody remembers.
"""

import contextlib
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, cast

from pydantic import Field, ValidationError, model_validator

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

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, data: object) -> object:
        """Read the record of an earlier version too: an upgrade must lose no running worker."""
        if not isinstance(data, dict):
            return data
        facts = cast("dict[str, object]", data)
        told = {"order": facts.get("spec"), "started_unix_ms": _unix_ms(facts.get("started_at"))}
        return {**told, **facts}

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
        """Forget a worker; its log stays for a person to read.

        A record that a broken disk does not let go of is judged by its process at the next start.
        """
        _unlink(self._record_path(worker_id))
        _unlink(self.key_path(worker_id))

    def set_aside(self, worker_id: str, why: str) -> Path:
        """Keep a record for a person, but never read it again."""
        path = self._record_path(worker_id)
        return path.replace(path.with_suffix(f".{why}"))

    def load(self) -> Loaded:
        """Read every record; one that makes no sense is set aside, never a crash."""
        records: list[WorkerRecord] = []
        aside: list[Path] = []
        unsaid: set[str] = set()
        for path in sorted(self._records.glob("*.json")):
            try:
                record = _parse(path.read_bytes(), path.stem)
            except OSError:
                # Neither right nor wrong: the next start may be able to read it.
                unsaid.add(path.stem)
                continue
            if record is not None:
                records.append(record)
                continue
            unsaid.add(path.stem)
            with contextlib.suppress(OSError):
                aside.append(path.replace(path.with_suffix(".unreadable")))
        known = {record.id for record in records} | unsaid
        for key in self._records.glob("*.key"):
            if key.stem not in known:
                _unlink(key)
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


def _parse(data: bytes, worker_id: str) -> WorkerRecord | None:
    try:
        record = WorkerRecord.model_validate_json(data)
    except ValidationError:
        return None
    return record if record.id == worker_id and is_id(PREFIX_WORKER, record.id) else None


def _unix_ms(moment: object) -> int:
    """The time of a text as the ledger writes it; 0 for anything else."""
    try:
        return round(datetime.fromisoformat(str(moment)).timestamp() * 1000)
    except ValueError:
        return 0


def _unlink(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
