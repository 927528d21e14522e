"""The orchestrator as an enrolment needs it: calls off the event loop, refusals as values."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from orchestrator_core.errors import Code, LlorchError, Refusal

if TYPE_CHECKING:
    from orchestrator_core.contracts.control import PoolView
    from orchestrator_core.contracts.joining import (
        JoinToken,
        JoinTokenOrder,
        PoolEnrolment,
        PoolOrder,
        SshIdentity,
    )

__all__ = ["Desk", "Orchestrator"]

T = TypeVar("T")


class Orchestrator(Protocol):
    """The calls that are needed; OrchestratorClient has them."""

    def ssh_identity(self) -> "SshIdentity":
        """The key by which the orchestrator logs in at hosts."""
        ...

    def join_token(self, order: "JoinTokenOrder") -> "JoinToken":
        """A token that lets one host join."""
        ...

    def enrol_pool(self, order: "PoolOrder") -> "PoolEnrolment":
        """Name a host that the orchestrator reaches by itself."""
        ...

    def pool(self, pool_id: str) -> "PoolView":
        """One pool as the orchestrator sees it."""
        ...

    def remove_pool(self, pool_id: str) -> object:
        """Forget a pool."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """Calls that wait, made where they hold up nobody else: SSH goes on meanwhile."""

    orchestrator: Orchestrator
    url: str

    async def identity(self) -> "SshIdentity | Refusal":
        """The key by which the orchestrator logs in at hosts."""
        return await _answer(self.orchestrator.ssh_identity)

    async def token(self, order: "JoinTokenOrder") -> "JoinToken | Refusal":
        """A token that lets one host join."""
        return await _answer(lambda: self.orchestrator.join_token(order))

    async def enrol(self, order: "PoolOrder") -> "PoolEnrolment | Refusal":
        """Name a host that the orchestrator reaches by itself."""
        return await _answer(lambda: self.orchestrator.enrol_pool(order))

    async def pool(self, name: str) -> "PoolView | Refusal | None":
        """One pool; None when it is not enrolled."""
        found = await _answer(lambda: self.orchestrator.pool(name))
        if isinstance(found, Refusal) and found.code in (Code.POOL_NOT_FOUND, Code.NOT_FOUND):
            return None
        return found

    async def remove(self, name: str) -> bool | Refusal:
        """Forget a pool; False when there was none."""
        done = await _answer(lambda: self.orchestrator.remove_pool(name))
        if isinstance(done, Refusal):
            gone = done.code in (Code.POOL_NOT_FOUND, Code.NOT_FOUND)
            return False if gone else done
        return True


async def _answer(call: Callable[[], T]) -> T | Refusal:
    try:
        return await asyncio.to_thread(call)
    except LlorchError as error:
        return error.refusal
