"""Hosts that the orchestrator reaches by itself: enrolled and removed by administrators."""

from collections.abc import Awaitable, Callable

from fastapi import Request, Response

from orchestrator_core.contracts.control import Health
from orchestrator_core.contracts.joining import PoolEnrolment, PoolOrder, SshIdentity
from orchestrator_core.errors import Refusal, error_for
from orchestratord.api.control.holder import holder_of
from orchestratord.api.control.pool_views import LinkTo, enrolment_view
from orchestratord.runtime.enrolling import EnrolDesk

__all__ = ["EnrolmentHandlers"]


class EnrolmentHandlers:
    """POST /v2/pools, DELETE /v2/pools/{id} and GET /v2/ssh-key."""

    def __init__(
        self,
        *,
        desk: EnrolDesk,
        link_to: LinkTo,
        identity: Callable[[], Awaitable[SshIdentity | Refusal]],
    ) -> None:
        self._desk = desk
        self._link_to = link_to
        self._identity = identity

    async def enrol(self, request: Request, body: PoolOrder) -> PoolEnrolment:
        """Enrol a host; the link to it is made from now on, and again whenever it is lost."""
        row = await self._desk.enrol(body, holder_of(request).key_id)
        if isinstance(row, Refusal):
            raise error_for(row)
        return enrolment_view(row, self._link_to(row.id))

    async def remove(self, request: Request, id: str) -> Health:  # noqa: A002 - the path's name.
        """Remove a pool and all that lets it in."""
        refusal = await self._desk.remove(id, holder_of(request).key_id)
        if refusal is not None:
            raise error_for(refusal)
        return Health(status="removed")

    async def ssh_identity(self, response: Response) -> SshIdentity:
        """Show the key by which this orchestrator logs in at its hosts."""
        found = await self._identity()
        if isinstance(found, Refusal):
            raise error_for(found)
        response.headers["cache-control"] = "no-store"
        return found
