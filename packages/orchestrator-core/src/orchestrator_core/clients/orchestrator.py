"""Typed calls to orchestratord: OrchestratorClient for commands, AsyncOrchestratorClient for pools."""

from collections.abc import Callable, Iterator
from typing import Final, TypeVar
from urllib.parse import quote

import httpx

from orchestrator_core.clients.http import AsyncHttpCaller, HttpCaller
from orchestrator_core.clients.replies import Peer, read_reply, refused
from orchestrator_core.clients.resume import Resume, follow, repeat_lost
from orchestrator_core.clients.trust import Trust
from orchestrator_core.contracts.control import Health, PoolList, PoolView
from orchestrator_core.contracts.joining import (
    Joined,
    JoinRequest,
    JoinToken,
    JoinTokenOrder,
    PoolEnrolment,
    PoolOrder,
    SshIdentity,
)
from orchestrator_core.contracts.keys import KeyCreated, KeyList, KeyOrder, KeyView, UsageList
from orchestrator_core.contracts.pool import (
    Heartbeat,
    HeartbeatReply,
    PoolRegister,
    PoolRegistered,
    PoolStatusView,
    SpawnRequest,
    WorkerReport,
)
from orchestrator_core.contracts.tasks import JobView, TaskAccepted, TaskList, TaskSubmit
from orchestrator_core.errors import Code, LlorchError
from orchestrator_core.stream.sse import SseEvent

__all__ = ["START_COMMAND", "AsyncOrchestratorClient", "OrchestratorClient"]

T = TypeVar("T")

START_COMMAND: Final = "llorch orchestrator start"

_NAME: Final = "orchestratord"
_READY_STATUSES: Final = (200, 503)
_PAGE: Final = 500


class OrchestratorClient(HttpCaller):
    """What a person or a script asks of the orchestrator."""

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        timeout_s: float = 30.0,
        trust: Trust | None = None,
        transport: httpx.BaseTransport | None = None,
        resume: Resume | None = None,
    ) -> None:
        peer = Peer(_NAME, url, START_COMMAND)
        super().__init__(peer, key, timeout_s=timeout_s, trust=trust, transport=transport)
        self._resume = resume or Resume()

    def submit(
        self,
        task: TaskSubmit,
        *,
        idempotency_key: str | None = None,
        on_cut: Callable[[str], None] | None = None,
    ) -> TaskAccepted:
        """Hand in a job; when this returns, it is on disk.

        With an idempotency key the call is repeated when its answer is lost: it stays one job.
        """
        headers = {"idempotency-key": idempotency_key} if idempotency_key else None

        def call() -> TaskAccepted:
            return self.call("POST", "/v2/tasks", TaskAccepted, body=task, headers=headers)

        return self._repeat(call, on_cut) if idempotency_key else call()

    def jobs(
        self,
        *,
        status: str | None = None,
        model: str | None = None,
        priority: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> TaskList:
        """Read one page of jobs, newest first."""
        query = {
            "status": status,
            "model": model,
            "priority": priority,
            "limit": limit,
            "cursor": cursor,
        }
        return self._repeat(lambda: self.call("GET", "/v2/tasks", TaskList, query=query))

    def job_pages(
        self,
        *,
        status: str | None = None,
        model: str | None = None,
        priority: str | None = None,
        limit: int | None = None,
    ) -> Iterator[TaskList]:
        """Read page after page of jobs, newest first, until `limit` jobs or all have been read."""
        cursor: str | None = None
        while limit is None or limit > 0:
            size = _PAGE if limit is None else min(limit, _PAGE)
            page = self.jobs(
                status=status, model=model, priority=priority, limit=size, cursor=cursor
            )
            yield page
            cursor = page.next
            if cursor is None:
                return
            limit = None if limit is None else limit - len(page.items)

    def job(self, job_id: str) -> JobView:
        """Read everything about one job."""
        return self._repeat(lambda: self.call("GET", _task_path(job_id), JobView))

    def cancel(self, job_id: str) -> JobView:
        """Cancel a job; one that has ended stays as it is."""
        return self._repeat(lambda: self.call("DELETE", _task_path(job_id), JobView))

    def events(
        self,
        job_id: str,
        after: int = 0,
        *,
        resume: Resume | None = None,
        on_cut: Callable[[str], None] | None = None,
        on_quiet: Callable[[], None] | None = None,
    ) -> Iterator[SseEvent]:
        """Follow a job until its end or error, across cuts and restarts, without gap or repeat.

        `on_quiet` is called now and then while the job waits and no event comes.
        """
        return follow(
            self,
            f"{_task_path(job_id)}/events",
            after=after,
            resume=resume or self._resume,
            on_cut=on_cut,
            is_over=lambda: self._has_ended(job_id),
            on_quiet=on_quiet,
        )

    def create_key(self, order: KeyOrder) -> KeyCreated:
        """Make a key; its text is in this answer and nowhere else."""
        return self.call("POST", "/v2/keys", KeyCreated, body=order)

    def keys(self) -> KeyList:
        """Read all keys, revoked and expired ones too."""
        return self._repeat(lambda: self.call("GET", "/v2/keys", KeyList))

    def revoke_key(self, key_id: str) -> KeyView:
        """Revoke a key; one that is revoked stays so."""
        path = f"/v2/keys/{quote(key_id, safe='')}"
        return self._repeat(lambda: self.call("DELETE", path, KeyView))

    def usage(self, *, since: str | None = None, key_id: str | None = None) -> UsageList:
        """Read what was used per key and model; since is a time or a length like 24h or 7d."""
        query = {"since": since, "key": key_id}
        return self._repeat(lambda: self.call("GET", "/v2/usage", UsageList, query=query))

    def pools(self) -> PoolList:
        """Read all pools with their devices and workers."""
        return self.call("GET", "/v2/pools", PoolList)

    def pool(self, pool_id: str) -> PoolView:
        """Read one pool, also one that was enrolled and has never reported."""
        return self._repeat(lambda: self.call("GET", _pool_path(pool_id), PoolView))

    def join_token(self, order: JoinTokenOrder) -> JoinToken:
        """Make a one-time token for a host; its text is in this answer and nowhere else."""
        return self.call("POST", "/v2/pools/join-tokens", JoinToken, body=order)

    def join(self, request: JoinRequest) -> Joined:
        """Show a one-time token and become a pool; a lost answer takes a new token."""
        return self.call("POST", "/v2/pools/join", Joined, body=request)

    def enrol_pool(self, order: PoolOrder) -> PoolEnrolment:
        """Enrol a host that the orchestrator reaches over SSH; once more changes nothing."""
        return self._repeat(lambda: self.call("POST", "/v2/pools", PoolEnrolment, body=order))

    def remove_pool(self, pool_id: str) -> Health:
        """Remove a pool and all that lets it in; a second time it is not found."""
        return self.call("DELETE", _pool_path(pool_id), Health)

    def drain(self, pool_id: str) -> PoolStatusView:
        """Let a pool start no more workers for the orchestrator; those that run go on."""
        path = f"{_pool_path(pool_id)}/drain"
        return self._repeat(lambda: self.call("POST", path, PoolStatusView))

    def resume(self, pool_id: str) -> PoolStatusView:
        """Let a pool start workers for the orchestrator again."""
        path = f"{_pool_path(pool_id)}/resume"
        return self._repeat(lambda: self.call("POST", path, PoolStatusView))

    def spawn(self, pool_id: str, order: SpawnRequest) -> WorkerReport:
        """Start a worker of one's own on a pool; it is starting when this returns."""
        path = f"{_pool_path(pool_id)}/workers/spawn"
        return self.call("POST", path, WorkerReport, body=order)

    def ssh_identity(self) -> SshIdentity:
        """Read the public key by which the orchestrator logs in at its hosts."""
        return self._repeat(lambda: self.call("GET", "/v2/ssh-key", SshIdentity))

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

    def _repeat(self, call: Callable[[], T], on_cut: Callable[[str], None] | None = None) -> T:
        return repeat_lost(call, resume=self._resume, on_cut=on_cut)

    def _has_ended(self, job_id: str) -> bool:
        try:
            return self.call("GET", _task_path(job_id), JobView).ended_at is not None
        except LlorchError as error:
            if error.refusal.outcome.retry_later or error.code is Code.TIMEOUT:
                return False
            raise


class AsyncOrchestratorClient(AsyncHttpCaller):
    """What a pool tells its orchestrator."""

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        timeout_s: float = 10.0,
        trust: Trust | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        peer = Peer(_NAME, url, START_COMMAND)
        super().__init__(peer, key, timeout_s=timeout_s, trust=trust, transport=transport)

    async def join(self, request: JoinRequest) -> Joined:
        """Show a one-time token and become a pool; a lost answer takes a new token."""
        return await self.call("POST", "/v2/pools/join", Joined, body=request)

    async def register(self, register: PoolRegister) -> PoolRegistered:
        """Open a session; a newer one fences the older."""
        return await self.call("POST", "/v2/pools/register", PoolRegistered, body=register)

    async def heartbeat(self, beat: Heartbeat) -> HeartbeatReply:
        """Report the pool's state and learn which workers are wanted."""
        path = f"{_pool_path(beat.pool_id)}/heartbeat"
        return await self.call("POST", path, HeartbeatReply, body=beat)


def _task_path(job_id: str) -> str:
    return f"/v2/tasks/{quote(job_id, safe='')}"


def _pool_path(pool_id: str) -> str:
    return f"/v2/pools/{quote(pool_id, safe='')}"
