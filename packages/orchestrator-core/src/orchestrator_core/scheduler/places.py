"""The place of a waiting job in its sub-queue, as it is now; nothing is scanned for it."""

from orchestrator_core.jobs.fairness import FairOrder
from orchestrator_core.jobs.queue import JobQueue
from orchestrator_core.jobs.ranked_line import Ticket
from orchestrator_core.scheduler.records import JobRecord

__all__ = ["place_of"]


def place_of(job: JobRecord) -> int:
    """The place, 1 for the next; a job that comes later may still get in before it."""
    ticket = job.ticket
    if ticket is None:
        return 1 + job.service.waiting
    lanes = _rivals(job)
    before = sum(lane.count_before(ticket) for lane in lanes)
    return 1 + before + _of_the_other_class(job.service.order, lanes, ticket, before)


def _rivals(job: JobRecord) -> list[JobQueue]:
    """The lanes whose jobs may take the workers that this one waits for, its own included."""
    lanes, pin = job.service.lanes, job.facts.pin_pool
    workers = job.service.workers.values()
    pools = {worker.pool_id for worker in workers} if pin is None else {pin}
    return [lanes[None], *(lanes[pool_id] for pool_id in sorted(pools) if pool_id in lanes)]


def _of_the_other_class(
    order: FairOrder, lanes: list[JobQueue], ticket: Ticket, before: int
) -> int:
    """How many jobs of the other class go first when aged batch jobs take every other turn."""
    others = sum(lane.count(is_batch=not ticket.is_batch) for lane in lanes)
    if not others:
        return 0
    heads = (lane.first_of(is_batch=not ticket.is_batch) for lane in lanes)
    rival = min(head for head in heads if head is not None)
    if not ticket.is_batch:
        if not order.has_aged(rival, ticket):
            return 0
        return min(others, before + order.overtakes(rival, ticket))
    if not order.has_aged(ticket, rival):
        return others
    return min(others, before + (not order.overtakes(ticket, rival)))
