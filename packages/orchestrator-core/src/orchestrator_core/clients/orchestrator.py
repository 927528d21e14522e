"""Typed calls to orchestratord: OrchestratorClient for commands, AsyncOrchestratorClient for pools."""

from collections.abc import Callable, Iterator
from typing import Final
from urllib.parse import quote

import httpx

from orchestrator_core.clients.http import AsyncHttpCaller, HttpCaller
from orchestrator_core.clients.replies import Peer, read_reply, refused
from orchestrator_core.clients.resume import Resume, follow
from orchestrator_core.contracts.control import Health, PoolList
from orchestrator_core.contracts.pool import (
    Heartbeat,
    HeartbeatReply,
    PoolRegister,
    PoolRegistered,
)
from orchestrator_core.contracts.tasks import JobView, TaskAccepted, TaskList, TaskSubmit
from orchestrator_core.stream.sse import SseEvent

__all__ = ["START_COMMAND", "AsyncOrchestratorClient", "OrchestratorClient"]

START_COMMAND: Final = "llorch orchestrator start"

_NAME: Final = "orchestratord"
_READY_STATUSES: Final = (200, 503)


class OrchestratorClient(HttpCaller):
    """What a person or a script asks of the orchestrator."""

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        timeout_s: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        peer = Peer(_NAME, url, START_COMMAND)
        super().__init__(peer, key, timeout_s=timeout_s, transport=transport)

    def submit(self, task: TaskSubmit, *, idempotency_key: str | None = None) -> TaskAccepted:
        """Hand in a job; when this returns, it is on disk."""
        headers = {"idempotency-key": idempotency_key} if idempotency_key else None
        return self.call("POST", "/v2/tasks", TaskAccepted, body=task, headers=headers)

    def jobs(
        self,
        *,
        status: str | None = None,
        model: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> TaskList:
        """Read one page of jobs, newest first."""
        query = {"status": status, "model": model, "limit": limit, "cursor": cursor}
        return self.call("GET", "/v2/tasks", TaskList, query=query)

    def job(self, job_id: str) -> JobView:
        """Read everything about one job."""
        return self.call("GET", _task_path(job_id), JobView)

    def cancel(self, job_id: str) -> JobView:
        """Cancel a job; one that has ended stays as it is."""
        return self.call("DELETE", _task_path(job_id), JobView)

    def events(
        self,
        job_id: str,
        after: int = 0,
        *,
        resume: Resume | None = None,
        on_cut: Callable[[str], None] | None = None,
    ) -> Iterator[SseEvent]:
        """Follow a job until its end or error, across cuts and restarts, without gap or repeat."""
        path = f"{_task_path(job_id)}/events"
        return follow(self, path, after=after, resume=resume or Resume(), on_cut=on_cut)

    def pools(self) -> PoolList:
        """Read all pools with their devices and workers."""
        return self.call("GET", "/v2/pools", PoolList)

    def ready(self) -> Health:
        """Ask whether jobs would be accepted now; a no is an answer, not an error."""
        response = self.send("GET", "/readyz")
        if response.status_code not in _READY_STATUSES:
            raise refused(self.peer, response)
        response.status_code = 200
        return read_reply(self.peer, response, Health)

    def live(self) -> Health:
        """Ask whether the process answers at all."""
        return self.call("GET", "/livez", Health)


class AsyncOrchestratorClient(AsyncHttpCaller):
    """What a pool tells its orchestrator."""

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        timeout_s: float = 10.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        peer = Peer(_NAME, url, START_COMMAND)
        super().__init__(peer, key, timeout_s=timeout_s, transport=transport)

    async def register(self, register: PoolRegister) -> PoolRegistered:
        """Open a session; a newer one fences the older."""
        return await self.call("POST", "/v2/pools/register", PoolRegistered, body=register)

    async def heartbeat(self, beat: Heartbeat) -> HeartbeatReply:
        """Report the pool's state and learn which workers are wanted."""
        path = f"/v2/pools/{quote(beat.pool_id, safe='')}/heartbeat"
        return await self.call("POST", path, HeartbeatReply, body=beat)


def _task_path(job_id: str) -> str:
    return f"/v2/tasks/{quote(job_id, safe='')}"
