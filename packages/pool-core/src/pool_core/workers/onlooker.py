"""Looks at this host's workers from outside: reads their records, asks them, and changes nothing.

So it needs neither the lock nor a supervisor, and may look beside a running daemon.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from orchestrator_core.config.layout import Layout
from orchestrator_core.platforms.port import Platform, ProcessIdentity
from pool_core.workers.argv import HOST
from pool_core.workers.ledger import Ledger, WorkerRecord
from pool_core.workers.readiness import Readiness, Target, check

__all__ = ["Onlooker"]


@dataclass(frozen=True, slots=True)
class Onlooker:
    """Reads what the pool of an installation has written down."""

    layout: Layout
    platform: Platform

    def records(self) -> list[WorkerRecord]:
        """Every readable record, the oldest worker first."""
        found = (_read(path) for path in sorted(self.layout.worker_records.glob("*.json")))
        return [record for record in found if record is not None]

    def find(self, worker: str) -> WorkerRecord | None:
        """The record of a worker by id or name."""
        return next((it for it in self.records() if worker in (it.id, it.name)), None)

    def is_alive(self, record: WorkerRecord) -> bool:
        """Tell whether the very process of a record still runs."""
        identity = record.identity()
        return identity is not None and self.platform.is_alive(identity)

    async def ask(self, record: WorkerRecord, *, answer_s: float) -> Readiness:
        """Ask a worker how far it has come."""
        target = Target(
            url=f"http://{HOST}:{record.port}",
            key=Ledger(self.layout.pool_folder).read_key(record.id) or "",
            model=record.spec.model.model_id,
            task=record.spec.task,
            is_ours=partial(self._owns, record.identity(), record.port),
            was_ready=record.ready_at is not None,
        )
        return await check(target, answer_s=answer_s)

    def _owns(self, identity: ProcessIdentity | None, port: int) -> bool:
        if identity is None:
            return False
        holder = self.platform.port_holder(port, likely=identity.pid)
        if holder is None or holder.pid is None:
            return False
        return self.platform.session_of(holder.pid) == identity.pid


def _read(path: Path) -> WorkerRecord | None:
    try:
        return WorkerRecord.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
