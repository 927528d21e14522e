"""Takes over the workers that an earlier daemon left running.

A record alone proves nothing: the process must be the recorded one and carry the worker's mark.
A foreign process is left alone for good; the record of a dead worker is removed.
"""

from dataclasses import dataclass, field

from orchestrator_core.contracts.pool import WorkerStatus
from pool_core.workers.charge import Charge
from pool_core.workers.ledger import WorkerRecord
from pool_core.workers.process import Host, find_marked, is_our_worker, watch

__all__ = ["Adopted", "adopt"]


@dataclass(slots=True)
class Adopted:
    """What the ledger came to: workers to go on with, and those that cannot be used any more."""

    workers: list[Charge] = field(default_factory=list[Charge])
    orphans: list[Charge] = field(default_factory=list[Charge])


def adopt(host: Host) -> Adopted:
    """Judge every record; runs on the loop, because it begins to watch the processes."""
    result = Adopted()
    records = host.ledger.load().records
    for record in records:
        charge = _charge(host, record)
        if charge is None:
            continue
        watch(host, charge)
        charge.launched.set()
        (result.workers if charge.key else result.orphans).append(charge)
    host.ledger.prune_logs({record.id for record in records})
    return result


def _charge(host: Host, record: WorkerRecord) -> Charge | None:
    identity = record.identity()
    recorded = identity is not None
    if identity is None:
        identity = find_marked(host.platform, record.id)
    if identity is None or not host.platform.is_alive(identity):
        host.ledger.remove(record.id)
        return None
    if not is_our_worker(host.platform, identity, record.id):
        host.ledger.set_aside(record.id, "foreign")
        return None
    charge = Charge(record, host.ledger.read_key(record.id) or "", WorkerStatus.LOADING)
    charge.identity = identity
    if not recorded:
        charge.update(pid=identity.pid, start_time=identity.start_time, boot_id=identity.boot_id)
        host.ledger.write(charge.record)
    return charge
