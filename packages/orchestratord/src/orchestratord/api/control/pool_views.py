"""Turns pools, as the machine, the enrolments and the links know them, into what people see; pure.

No key, token or credential is ever part of it.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal

from orchestrator_core.clients.pins import fingerprint_of
from orchestrator_core.clock import rfc3339
from orchestrator_core.contracts.control import PoolView
from orchestrator_core.contracts.joining import PoolEnrolment
from orchestrator_core.contracts.pool import PoolState, WorkerReport
from orchestrator_core.ids import PoolId
from orchestrator_core.scheduler.views import PoolFacts, WorkerFacts
from orchestratord.runtime.hosts.course import LinkState, LinkView
from orchestratord.runtime.hosts.ways import PoolContact
from orchestratord.store.rows import PoolRow

__all__ = ["LinkTo", "enrolment_view", "pool_view", "worker_view"]

LinkTo = Callable[[PoolId], LinkView | None]
"""How the connection to a pool's host stands, where we hold one."""

_Word = Literal["up", "connecting", "needs_attention"]
_WORDS: Final[Mapping[LinkState, _Word]] = {
    LinkState.UP: "up",
    LinkState.CONNECTING: "connecting",
    LinkState.NEEDS_ATTENTION: "needs_attention",
}


def pool_view(
    pool_id: PoolId,
    *,
    pool: PoolFacts | None,
    contact: PoolContact | None,
    row: PoolRow | None,
    link: LinkView | None,
    now: float,
) -> PoolView:
    """One pool; at least one of what it reported and its enrolment is there."""
    given = None if row is None else row.endpoint
    return PoolView(
        pool_id=pool_id,
        status=PoolState.LOST if pool is None else pool.status,
        endpoint=(contact.endpoint if contact and contact.road != "ssh" else given) or "",
        version=contact.version if contact else "",
        last_seen_s=None if pool is None else round(max(0.0, now - pool.last_seen_at), 3),
        devices=[] if pool is None else list(pool.devices),
        workers=[] if pool is None else [worker_view(it) for it in pool.workers if it.report],
        models=[] if pool is None else list(pool.models),
        road="local" if row is None else row.road,
        enrolled=row is not None,
        joined=row is not None and row.joined,
        declared=row is not None and row.declared,
        certificate_sha256=None if row is None else _certificate_sha256(row),
        link=None if link is None else _WORDS.get(link.state),
        reason=None if link is None else link.reason,
    )


def enrolment_view(row: PoolRow, link: LinkView | None) -> PoolEnrolment:
    """How a host was enrolled."""
    return PoolEnrolment(
        pool_id=row.id,
        road=row.road,
        endpoint=row.endpoint,
        joined=row.joined,
        declared=row.declared,
        certificate_sha256=_certificate_sha256(row),
        link=None if link is None else _WORDS.get(link.state),
        reason=None if link is None else link.reason,
        created_at=rfc3339(row.created_at_ms),
    )


def worker_view(found: WorkerFacts) -> WorkerReport:
    """A worker for people: slots as we count them, never its key."""
    if found.report is None:
        raise AssertionError("only reported workers are shown")
    return found.report.model_copy(update={"key": None, "slots_busy": found.slots_used})


def _certificate_sha256(row: PoolRow) -> str | None:
    return None if row.certificate is None else fingerprint_of(row.certificate)
