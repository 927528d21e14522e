"""Takes what pools say of themselves: sessions and beats, by push or through a link to their host.

Checks who speaks for which pool, tells the machine, and answers with what the pool shall run.
"""

from collections.abc import Callable, Iterable

import structlog
from pydantic import SecretStr

from orchestrator_core.contracts.pool import (
    Heartbeat,
    HeartbeatReply,
    Peer,
    PoolRegister,
    PoolRegistered,
    PoolState,
    WorkerReport,
)
from orchestrator_core.contracts.versions import skew_refusal
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import PoolId, SessionId
from orchestrator_core.scheduler import events
from orchestratord.runtime.contacts import contact_of, is_same_host, refused_worker
from orchestratord.runtime.enrolments import RESERVED_NAMES, Enrolments
from orchestratord.runtime.keys.keyring import Principal
from orchestratord.runtime.loop import Loop
from orchestratord.runtime.peers import SharingPool, peers_for
from orchestratord.runtime.poolorders import PoolOrders
from orchestratord.runtime.workerbook import WorkerBook
from orchestratord.store.rows import PoolRow

__all__ = ["PoolDesk"]

_log = structlog.get_logger(__name__)


class PoolDesk:
    """Where pools report; who speaks is the holder of a key, or None for an enrolled host's link."""

    def __init__(
        self,
        *,
        loop: Loop,
        book: WorkerBook,
        orders: PoolOrders,
        enrolments: Enrolments,
        version: str,
        heartbeat_interval_s: float,
        now: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._book = book
        self._orders = orders
        self._enrolments = enrolments
        self._version = version
        self._heartbeat_interval_s = heartbeat_interval_s
        self._now = now
        self._last_beats: dict[PoolId, int] = {}
        self._peer_keys: dict[PoolId, SecretStr] = {}
        # The enrolment, or none, by which each session was opened.
        self._opened_as: dict[PoolId, PoolRow | None] = {}
        enrolments.listen(self._review)

    def register(self, body: PoolRegister, by: Principal | None) -> PoolRegistered | Refusal:
        """Open a session; a newer one fences the older."""
        pool_id, session_id = PoolId(body.pool_id), SessionId(body.session_id)
        refusal = (
            self._wrong_speaker(pool_id, by)
            or skew_refusal(self._version, body.version, f"pool {pool_id}")
            or self._unready(body.workers)
        )
        if refusal is not None:
            return refusal
        row = self._enrolments.row(pool_id)
        contact = contact_of(body, row)
        if isinstance(contact, Refusal):
            return contact
        self._opened_as[pool_id] = row
        self._orders.meet(pool_id, contact)
        self._book.replace(pool_id, body.workers)
        self._last_beats[pool_id] = 0
        self._note_peer_key(pool_id, body.peer_key)
        _log.info("pool.registered", pool_id=pool_id, session_id=session_id, road=contact.road)
        self._loop.post(
            events.PoolRegistered(
                at=self._now(),
                pool_id=pool_id,
                session_id=session_id,
                devices=tuple(body.devices),
                workers=tuple(body.workers),
                models=tuple(body.models),
                engines=tuple(body.engines),
                draining=body.draining,
            )
        )
        return PoolRegistered(
            pool_id=pool_id,
            session_id=session_id,
            heartbeat_interval_s=self._heartbeat_interval_s,
            wanted=self._loop.machine.wanted(pool_id),
            peers=self._peers_for(pool_id),
        )

    def beat(self, body: Heartbeat, by: Principal | None) -> HeartbeatReply | Refusal:
        """Take a pool's word; an old session is told to register anew."""
        pool_id, session_id = PoolId(body.pool_id), SessionId(body.session_id)
        refusal = (
            self._wrong_speaker(pool_id, by)
            or self._unready(body.workers)
            or self._loop.machine.beat_refusal(pool_id, session_id)
        )
        if refusal is not None:
            return refusal
        # A beat that a newer one overtook on its way would lose the workers that came between them.
        if body.seq > self._last_beats.get(pool_id, 0):
            self._last_beats[pool_id] = body.seq
            self._book.replace(pool_id, body.workers)
            self._loop.post(
                events.PoolBeat(
                    at=self._now(),
                    pool_id=pool_id,
                    session_id=session_id,
                    devices=tuple(body.devices),
                    workers=tuple(body.workers),
                    models=None if body.models is None else tuple(body.models),
                    draining=body.draining,
                )
            )
        return HeartbeatReply(
            wanted=self._loop.machine.wanted(pool_id),
            heartbeat_interval_s=self._heartbeat_interval_s,
            peers=self._peers_for(pool_id),
        )

    def forget(self, pool_id: PoolId) -> None:
        """Drop a pool that was removed; attempts in flight go on until their sockets end."""
        self._peer_keys.pop(pool_id, None)
        self._last_beats.pop(pool_id, None)
        self._opened_as.pop(pool_id, None)
        self._orders.forget(pool_id)
        self._book.replace(pool_id, [])
        self._loop.post(events.PoolForgotten(at=self._now(), pool_id=pool_id))

    def _review(self, pool_id: PoolId) -> None:
        """End the session of another host: the name means a new one, whose workers are its own."""
        row = self._enrolments.row(pool_id)
        if row is None or pool_id not in self._opened_as:
            return
        if not is_same_host(self._opened_as[pool_id], row):
            _log.info("pool.replaced", pool_id=pool_id, endpoint=row.endpoint)
            self.forget(pool_id)

    def claim(self, pool_id: PoolId) -> Refusal | None:
        """Why this name is not free for a host that shall be enrolled."""
        if pool_id in RESERVED_NAMES:
            return Refusal(
                Code.INVALID_REQUEST, f"no pool can have the name {pool_id}: take another"
            )
        row = self._enrolments.row(pool_id)
        if row is not None:
            if not row.declared:
                return None
            line = f"pool {pool_id} is declared in orchestrator.toml: change it there"
            return Refusal(Code.CONFLICT, line)
        pool = self._loop.machine.pool(pool_id)
        if pool is None or pool.status is PoolState.LOST:
            return None
        line = f"a pool {pool_id} is here already without having been enrolled: take another name"
        return Refusal(Code.CONFLICT, line)

    def _wrong_speaker(self, pool_id: PoolId, by: Principal | None) -> Refusal | None:
        row = self._enrolments.row(pool_id)
        if by is None:
            if row is not None:
                return None
            return Refusal(Code.POOL_NOT_FOUND, f"pool {pool_id} is not enrolled any more")
        if by.pool_id is not None and by.pool_id != pool_id:
            line = f"this key is the one of pool {by.pool_id}: it cannot speak for {pool_id}"
            return Refusal(Code.SCOPE, line)
        own = None if row is None else row.key_id
        if own == by.key_id or (row is None and by.pool_id is None):
            return None
        if row is None:
            return Refusal(Code.SCOPE, f"pool {pool_id} is not enrolled any more: join it again")
        line = f"the name {pool_id} belongs to an enrolled host: set another pool_id, or join by it"
        return Refusal(Code.SCOPE, line)

    def _unready(self, workers: Iterable[WorkerReport]) -> Refusal | None:
        if self._loop.failure is not None:
            # Without the machine the wanted set is not known, and an empty one would stop workers.
            message = "the scheduler has stopped: report again once the orchestrator is back"
            return Refusal(Code.DRAINING, message)
        return refused_worker(workers)

    def _note_peer_key(self, pool_id: PoolId, key: SecretStr | None) -> None:
        if key is None:
            self._peer_keys.pop(pool_id, None)
        else:
            self._peer_keys[pool_id] = key

    def _peers_for(self, pool_id: PoolId) -> tuple[Peer, ...]:
        # Most installations share nothing, and this is asked with every beat.
        return peers_for(pool_id, self._sharing()) if self._peer_keys else ()

    def _sharing(self) -> Iterable[SharingPool]:
        for pool_id, key in self._peer_keys.items():
            contact = self._orders.contact(pool_id)
            status = self._loop.machine.pool_status(pool_id)
            if contact is None or contact.certificate is None or status is not PoolState.ONLINE:
                continue
            if contact.endpoint.startswith("https://"):
                yield SharingPool(pool_id, contact.endpoint, contact.certificate, key)
