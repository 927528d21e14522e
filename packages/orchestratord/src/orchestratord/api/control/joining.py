"""One-time tokens for administrators, and the one open route by which a host joins with its token."""

from typing import cast

from fastapi import Request, Response
from pydantic import SecretStr

from orchestrator_core.clock import rfc3339
from orchestrator_core.contracts.joining import Joined, JoinRequest, JoinToken, JoinTokenOrder
from orchestrator_core.errors import Code, Refusal, error_for
from orchestratord.api.control.holder import holder_of
from orchestratord.runtime.contacts import is_loopback
from orchestratord.runtime.joining import JoinDesk
from orchestratord.runtime.keys.denials import Denials, Reason

__all__ = ["JoinHandlers"]


class JoinHandlers:
    """POST /v2/pools/join-tokens and POST /v2/pools/join."""

    def __init__(self, *, desk: JoinDesk, denials: Denials) -> None:
        self._desk = desk
        self._denials = denials

    async def issue(self, request: Request, response: Response, body: JoinTokenOrder) -> JoinToken:
        """Make a token and show it once."""
        made = await self._desk.issue(body, holder_of(request).key_id)
        if isinstance(made, Refusal):
            raise error_for(made)
        response.headers["cache-control"] = "no-store"
        return JoinToken(
            pool_id=made.row.pool_id,
            token=SecretStr(made.text),
            expires_at=rfc3339(made.row.expires_at_ms),
        )

    async def join(self, request: Request, response: Response, body: JoinRequest) -> Joined:
        """Take a token and give the pool its key, which is in this answer and nowhere else."""
        key = await self._desk.join(body, is_near=_is_near(request))
        if isinstance(key, Refusal):
            raise error_for(self._counted(key, request))
        response.headers["cache-control"] = "no-store"
        return Joined(pool_id=body.pool_id, key=SecretStr(key))

    def _counted(self, refusal: Refusal, request: Request) -> Refusal:
        """Wrong tokens count like wrong keys: whoever keeps guessing has to wait."""
        if refusal.code is not Code.BAD_TOKEN:
            return refusal
        client = cast("tuple[str, int] | None", request.scope.get("client"))
        return self._denials.tell(Reason.TOKEN, client[0] if client else "") or refusal


def _is_near(request: Request) -> bool:
    """Tell whether the caller is on this machine; it grants nothing, others may say less."""
    client = cast("tuple[str, int] | None", request.scope.get("client"))
    server = cast("tuple[str, int | None] | None", request.scope.get("server"))
    if client is None:
        return False
    # Whoever calls our own address from the same machine comes from that very address.
    return is_loopback(client[0]) or (server is not None and client[0] == server[0])
