"""Makes and wires the parts that deal with hosts: ways to them, links, desks, orders."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator_core.clock import Clock
from orchestrator_core.contracts.pool import (
    Heartbeat,
    HeartbeatReply,
    PoolRegister,
    PoolRegistered,
)
from orchestrator_core.errors import Refusal, error_for
from orchestrator_core.idgen import IdSource
from orchestrator_core.ids import PoolId
from orchestrator_core.scheduler.events import Event
from orchestratord.app.enrolled import Enrolled
from orchestratord.runtime.enrolling import EnrolDesk
from orchestratord.runtime.hosts.link import Surroundings
from orchestratord.runtime.hosts.links import Links
from orchestratord.runtime.hosts.login import log_in
from orchestratord.runtime.hosts.ways import Ways
from orchestratord.runtime.joining import JoinDesk
from orchestratord.runtime.loop import Loop
from orchestratord.runtime.pooldesk import PoolDesk
from orchestratord.runtime.poolorders import PoolOrders
from orchestratord.runtime.ssh_identity import SshIdentities
from orchestratord.runtime.workerbook import WorkerBook
from orchestratord.store.port import JobStore
from orchestratord.store.rows import PoolRow

if TYPE_CHECKING:
    from orchestrator_core.clients.ssh.connection import SshConnection

__all__ = ["PoolParts"]

_FRACTION_BITS: Final = 53


class PoolParts:
    """Everything between the hosts and the machine; the desks are made once the loop is there."""

    def __init__(
        self,
        *,
        enrolled: Enrolled,
        clock: Clock,
        tasks: asyncio.TaskGroup,
        post: Callable[[Event], None],
    ) -> None:
        self.enrolments = enrolled.enrolments
        self._enrolled = enrolled
        self._clock = clock
        self._tasks = tasks
        self.ways = Ways(self._connection)
        self.book = WorkerBook(self.ways.road_to)
        self.orders = PoolOrders(clock=clock, tasks=tasks, post=post, ways=self.ways)
        self.identities = SshIdentities(enrolled.ssh_key, "llorch")
        self._links: Links | None = None

    def _connection(self, pool_id: PoolId) -> "SshConnection | None":
        return None if self._links is None else self._links.connection(pool_id)

    def pool_desk(self, loop: Loop, *, version: str, heartbeat_interval_s: float) -> PoolDesk:
        """Make the desk where pools report."""
        return PoolDesk(
            loop=loop,
            book=self.book,
            orders=self.orders,
            enrolments=self.enrolments,
            version=version,
            heartbeat_interval_s=heartbeat_interval_s,
            now=self._clock.monotonic_s,
        )

    def join_desk(
        self, desk: PoolDesk, *, store: JobStore, ids: IdSource, version: str
    ) -> JoinDesk:
        """Make the desk where hosts show their tokens."""
        return JoinDesk(
            store=store,
            enrolments=self.enrolments,
            tokens=self._enrolled.tokens,
            clock=self._clock,
            ids=ids,
            version=version,
            claim=desk.claim,
        )

    def enrol_desk(self, desk: PoolDesk, joins: JoinDesk, loop: Loop) -> EnrolDesk:
        """Make the desk where administrators enrol and remove hosts."""

        def forget(pool_id: PoolId) -> None:
            joins.withdraw(pool_id)
            desk.forget(pool_id)

        return EnrolDesk(
            enrolments=self.enrolments,
            clock=self._clock,
            claim=desk.claim,
            forget=forget,
            awaits=joins.awaits,
            status_of=loop.machine.pool_status,
        )

    def links(self, desk: PoolDesk, draw_bits: Callable[[int], int]) -> Links:
        """Make the links to the hosts that SSH reaches; nothing is connected before open()."""

        async def register(body: PoolRegister) -> PoolRegistered:
            answer = desk.register(body, None)
            if isinstance(answer, Refusal):
                raise error_for(answer)
            return answer

        async def beat(pool_id: PoolId, body: Heartbeat) -> HeartbeatReply:  # noqa: ARG001 - the link has checked the name.
            answer = desk.beat(body, None)
            if isinstance(answer, Refusal):
                raise error_for(answer)
            return answer

        async def connect(row: PoolRow, key_file: Path) -> "SshConnection | Refusal":
            # A declared host may be the first that needs our key.
            made = await self.identities.show()
            return made if isinstance(made, Refusal) else await log_in(row, key_file)

        around = Surroundings(
            enrolments=self.enrolments,
            key_file=self._enrolled.ssh_key,
            register=register,
            beat=beat,
            connect=connect,
            draw=lambda: draw_bits(_FRACTION_BITS) / 2**_FRACTION_BITS,
        )
        self._links = Links(around, self._tasks)
        return self._links
