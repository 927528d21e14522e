"""Typed calls to pool-managerd: PoolClient for commands, AsyncPoolClient for orchestratord."""

import contextlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Final

import httpx
from pydantic import SecretStr

from orchestrator_core.clients.http import AsyncHttpCaller, HttpCaller
from orchestrator_core.clients.log_stream import log_lines
from orchestrator_core.clients.pool_models import PoolModels
from orchestrator_core.clients.replies import Peer
from orchestrator_core.clients.trust import Trust
from orchestrator_core.contracts.base import Fact
from orchestrator_core.contracts.control import Health
from orchestrator_core.contracts.joining import Joined
from orchestrator_core.contracts.pool import (
    DeviceReport,
    PoolStatusView,
    SpawnRequest,
    StopRequest,
    WorkerList,
    WorkerReport,
)
from orchestrator_core.contracts.session import SessionAnswer, SessionJoin
from orchestrator_core.errors import Code, Refusal, error_for
from orchestrator_core.stream.sse import SseDecoder, SseEvent
from orchestrator_core.units import MIB

__all__ = ["START_COMMAND", "AsyncPoolClient", "PoolClient"]

START_COMMAND: Final = "llorch-pool daemon start"

_NAME: Final = "pool-managerd"
_WORKER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# A stop answers when the worker is gone: grace for TERM, then the KILL and the reaping.
_STOP_MARGIN_S: Final = 15.0
_CONNECT_TIMEOUT_S: Final = 5.0
# A heartbeat with hundreds of models and workers is told in less.
_EVENT_LIMIT_BYTES: Final = 16 * MIB


class _DeviceList(Fact):
    items: list[DeviceReport]


class PoolClient(HttpCaller):
    """What a person or a script asks of the pool of a host."""

    def __init__(
        self,
        url: str,
        key: str | None,
        *,
        timeout_s: float = 30.0,
        trust: Trust | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        peer = Peer(_NAME, url, START_COMMAND)
        super().__init__(peer, key, timeout_s=timeout_s, trust=trust, transport=transport)

    @property
    def models(self) -> PoolModels:
        """Everything about the models of the pool, over the same connections."""
        return PoolModels(self)

    def health(self) -> Health:
        """Ask whether the daemon answers."""
        return self.call("GET", "/health", Health)

    def status(self) -> PoolStatusView:
        """Read the pool's own summary."""
        return self.call("GET", "/status", PoolStatusView)

    def devices(self) -> list[DeviceReport]:
        """Read what the host computes with."""
        return self.call("GET", "/devices", _DeviceList).items

    def workers(self) -> WorkerList:
        """Read all workers of the pool."""
        return self.call("GET", "/workers", WorkerList)

    def spawn(self, order: SpawnRequest) -> WorkerReport:
        """Order a worker; it is starting when this returns."""
        return self.call("POST", "/workers/spawn", WorkerReport, body=order)

    def stop(self, worker: str, order: StopRequest | None = None) -> WorkerReport:
        """Stop a worker by id or name; it is gone when this returns."""
        order = order or StopRequest()
        timeout_s = order.grace_s + _STOP_MARGIN_S
        return self.call("POST", _stop_path(worker), WorkerReport, body=order, timeout_s=timeout_s)

    def logs(self, worker: str, *, tail: int = 100, follow: bool = False) -> Iterator[str]:
        """Read a worker's last lines, and every new one until it ends if that is asked for."""
        return log_lines(self, _worker_path(worker, "logs"), tail=tail, follow=follow)

    def drain(self) -> PoolStatusView:
        """Let the pool start no more workers for the orchestrator, restarts included."""
        return self.call("POST", "/drain", PoolStatusView)

    def resume(self) -> PoolStatusView:
        """Let the pool take the orchestrator's orders again."""
        return self.call("POST", "/resume", PoolStatusView)


class AsyncPoolClient(AsyncHttpCaller):
    """What the orchestrator orders a pool to do at once, between two heartbeats."""

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

    async def status(self) -> PoolStatusView:
        """Read the pool's own summary."""
        return await self.call("GET", "/status", PoolStatusView)

    async def spawn(self, order: SpawnRequest) -> WorkerReport:
        """Order a worker; it is starting when this returns."""
        return await self.call("POST", "/workers/spawn", WorkerReport, body=order)

    async def stop(self, worker: str, order: StopRequest) -> WorkerReport:
        """Stop a worker by id or name; it is gone when this returns."""
        timeout_s = order.grace_s + _STOP_MARGIN_S
        path = _stop_path(worker)
        return await self.call("POST", path, WorkerReport, body=order, timeout_s=timeout_s)

    async def drain(self) -> PoolStatusView:
        """Let the pool start no more workers for the orchestrator, restarts included."""
        return await self.call("POST", "/drain", PoolStatusView)

    async def resume(self) -> PoolStatusView:
        """Let the pool take the orchestrator's orders again."""
        return await self.call("POST", "/resume", PoolStatusView)

    async def join(self, token: SecretStr) -> Joined:
        """Show the one-time token that lies on the host, and get the credential of this pool."""
        return await self.call("POST", "/session/join", Joined, body=SessionJoin(token=token))

    @contextlib.asynccontextmanager
    async def session(self, *, silence_s: float = 20.0) -> AsyncGenerator[AsyncIterator[SseEvent]]:
        """Hold the pool's session stream open: its events until it ends, which is an error.

        The pool comments every five seconds, so that a longer silence means a dead connection.
        """
        timeout = httpx.Timeout(silence_s, connect=_CONNECT_TIMEOUT_S)
        async with self.streaming("/session", timeout=timeout) as pieces:
            yield _events(pieces)

    async def answer(self, answer: SessionAnswer) -> None:
        """Answer one message of the session stream."""
        await self.call("POST", "/session/answers", Health, body=answer)


async def _events(pieces: AsyncIterator[bytes]) -> AsyncIterator[SseEvent]:
    decoder = SseDecoder(_EVENT_LIMIT_BYTES)
    async for piece in pieces:
        for event in decoder.feed(piece):
            yield event


def _stop_path(worker: str) -> str:
    return _worker_path(worker, "stop")


def _worker_path(worker: str, what: str) -> str:
    if not _WORKER.fullmatch(worker):
        # No worker has such a name, and in a path it could mean another route, or nothing at all.
        text = f"no worker is named {worker[:80]!r}"
        raise error_for(Refusal(Code.WORKER_NOT_FOUND, text))
    return f"/workers/{worker}/{what}"
