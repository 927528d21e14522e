"""Takes over the workers that an earlier daemon left running.

A record alone proves nothing: the process must be the recorded one and carry the worker's mark and
this installation's. A foreign process is left alone for good. A worker that ended while nobody
watched is shown as failed if a person had started it, so that its end does not go unseen.
"""

import contextlib
import os
from dataclasses import dataclass, field
from typing import Final

from orchestrator_core.contracts.pool import Owner, WorkerStatus
from orchestrator_core.errors import Code, HostError
from orchestrator_core.platforms.port import ProcessIdentity
from pool_core.workers.charge import Charge, draw_key
from pool_core.workers.classify import Failure
from pool_core.workers.ledger import WorkerRecord
from pool_core.workers.process import Host, find_marked, is_our_worker, watch

__all__ = ["NO_KEY", "Adopted", "adopt"]

NO_KEY: Final = "its key is lost, so it cannot be proven to be ours"


@dataclass(slots=True)
class Adopted:
    """What the ledger came to: processes to go on with, and workers that have ended."""

    running: list[Charge] = field(default_factory=list[Charge])
    ended: list[Charge] = field(default_factory=list[Charge])


def adopt(host: Host) -> Adopted:
    """Judge every record; runs on the loop, because it begins to watch the processes."""
    result = Adopted()
    records = host.ledger.load().records
    for record in records:
        try:
            _judge(host, record, result)
        except (OSError, HostError) as error:
            result.running.append(_unproven(record, f"it cannot be looked at: {error}"))
    host.ledger.prune_logs({record.id for record in records})
    return result


def _judge(host: Host, record: WorkerRecord, result: Adopted) -> None:
    identity = record.identity() or find_marked(host.platform, host.instance, record.id)
    if identity is None or not host.platform.is_alive(identity):
        was_started = record.pid is not None or record.failure_code is not None
        if record.owner is Owner.OPERATOR and was_started:
            result.ended.append(_ended(host, record))
        else:
            host.ledger.remove(record.id)
    elif is_our_worker(host.platform, identity, host.instance, record.id):
        result.running.append(_running(host, record, identity))
    else:
        host.ledger.set_aside(record.id, "foreign")


def _unproven(record: WorkerRecord, reason: str) -> Charge:
    """A worker that is left alone; the next start of the daemon looks again."""
    charge = Charge(record, "", WorkerStatus.UNCLAIMED)
    charge.failure = Failure(Code.WORKER_LOST, reason)
    charge.launched.set()
    return charge


def _running(host: Host, record: WorkerRecord, identity: ProcessIdentity) -> Charge:
    key = host.ledger.read_key(record.id)
    charge = Charge(record, key or "", WorkerStatus.LOADING)
    if key is None:
        charge.status = WorkerStatus.UNCLAIMED
        charge.failure = Failure(Code.WORKER_LOST, NO_KEY)
    charge.identity = identity
    if record.pid is None:
        charge.update(pid=identity.pid, start_time=identity.start_time, boot_id=identity.boot_id)
        # Its intent is on the disk, so the next start finds it as this one did.
        with contextlib.suppress(OSError):
            host.ledger.write(charge.record)
    watch(host, charge)
    charge.launched.set()
    return charge


def _ended(host: Host, record: WorkerRecord) -> Charge:
    # The next process gets the same key, so that whoever uses it need not learn a new one.
    key = host.ledger.read_key(record.id) or draw_key()
    charge = Charge(record, key, WorkerStatus.FAILED)
    charge.launched.set()
    charge.exited.set()
    if record.failure_code is not None:
        charge.failure = Failure(record.failure_code, record.failure_message)
    elif not _is_this_boot(host, record):
        charge.failure = Failure(Code.WORKER_LOST, "the host was restarted since: start it again")
        charge.update(parked=True)
    if charge.record.parked:
        charge.status = WorkerStatus.PARKED
    return charge


def _is_this_boot(host: Host, record: WorkerRecord) -> bool:
    us = host.platform.identify(os.getpid())
    return us is not None and us.boot_id == record.boot_id
