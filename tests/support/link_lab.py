"""Links to hosts, with connections that a test makes, ends and refuses; the pool's HTTP is real."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx

from orchestrator_core.contracts.pool import (
    Heartbeat,
    HeartbeatReply,
    PoolRegister,
    PoolRegistered,
    WantedSet,
)
from orchestrator_core.errors import Refusal, error_for
from orchestrator_core.ids import PoolId
from orchestratord.runtime.enrolments import Enrolments, Keeping
from orchestratord.runtime.hosts.course import LinkState, LinkView, Pace
from orchestratord.runtime.hosts.link import Surroundings
from orchestratord.runtime.hosts.links import Links
from orchestratord.store.rows import PoolRow
from support.fake_session_pool import FakeSessionPool
from support.waiting import until

if TYPE_CHECKING:
    from orchestrator_core.clients.ssh.connection import SshConnection

__all__ = ["MAC", "Connection", "LinkLab", "joined", "row", "running_links"]

MAC = PoolId("mac")
NOTHING = WantedSet(revision=0, workers=[])


def _hang_up(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("closed", request=request)


class _WithoutTls(httpx.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme="http")
        return await super().handle_async_request(request)


class Connection:
    """An SSH connection that leads to this machine."""

    def __init__(self) -> None:
        self.shown: str | None = None
        self.trusts: list[ssl.SSLContext | None] = []
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def end(self, reason: str) -> None:
        if not self.over.done():
            self.over.set_result(reason)

    def abort(self) -> None:
        self.end("the connection was ended by us")

    async def wait_closed(self) -> str:
        return await asyncio.shield(self.over)

    def http_transport(
        self, host: str, port: int, *, trust: ssl.SSLContext | None = None
    ) -> httpx.AsyncBaseTransport:
        assert (host, bool(port)) == ("127.0.0.1", True)
        self.trusts.append(trust)
        if self.shown is not None and trust is None:
            # A port that speaks TLS has no answer to plain HTTP.
            return httpx.MockTransport(_hang_up)
        # This end of the test speaks plain HTTP: whoever trusts is led there all the same.
        return _WithoutTls()

    async def shown_certificate(self, host: str, port: int) -> str | None:
        return self.shown


@dataclass
class LinkLab:
    """All links of an orchestrator, and what they did."""

    enrolments: Enrolments
    links: Links
    connections: list[Connection] = field(default_factory=list)
    refusals: list[Refusal | Exception] = field(default_factory=list)
    registered: list[str] = field(default_factory=list)
    beats: list[int] = field(default_factory=list)
    refused_word: Refusal | None = None
    may_connect: asyncio.Event = field(default_factory=asyncio.Event)
    shown: str | None = None

    async def view_of(self, state: LinkState, pool_id: PoolId = MAC) -> LinkView:
        """Wait for this state."""

        def look() -> LinkView | None:
            view = self.links.view(pool_id)
            return view if view is not None and view.state is state else None

        found = await until(look, what=f"a link that is {state}")
        assert found is not None
        return found

    async def connected(self, times: int) -> Connection:
        """Wait for the connection of this number."""
        await until(lambda: len(self.connections) >= times, what=f"connection {times}")
        return self.connections[times - 1]


@contextlib.asynccontextmanager
async def running_links(
    *rows: PoolRow, silence_s: float = 20.0, keeping: Keeping | None = None
) -> AsyncGenerator[LinkLab]:
    """Run the links of an orchestrator for a block; they are opened by the test."""
    async with asyncio.TaskGroup() as tasks:
        enrolments = Enrolments(rows, keeping)

        async def connect(row: PoolRow, key_file: Path) -> "SshConnection | Refusal":
            assert key_file == Path("ssh_key")
            lab.connections.append(connection := Connection())
            connection.shown = lab.shown
            await lab.may_connect.wait()
            refusal = lab.refusals.pop(0) if lab.refusals else None
            if isinstance(refusal, Exception):
                raise refusal
            return refusal or cast("SshConnection", connection)

        async def register(told: PoolRegister) -> PoolRegistered:
            if lab.refused_word is not None:
                raise error_for(lab.refused_word)
            lab.registered.append(told.session_id)
            return PoolRegistered(
                pool_id=told.pool_id,
                session_id=told.session_id,
                heartbeat_interval_s=5,
                wanted=NOTHING,
            )

        async def beat(pool_id: PoolId, told: Heartbeat) -> HeartbeatReply:
            lab.beats.append(told.seq)
            return HeartbeatReply(wanted=NOTHING, heartbeat_interval_s=5)

        around = Surroundings(
            enrolments=enrolments,
            key_file=Path("ssh_key"),
            register=register,
            beat=beat,
            connect=connect,
            draw=lambda: 0.0,
            pace=Pace(first_s=0.02, most_s=0.02, attention_s=60),
            silence_s=silence_s,
        )
        lab = LinkLab(enrolments, Links(around, tasks))
        lab.may_connect.set()
        try:
            yield lab
        finally:
            await lab.links.close()


def row(pool: FakeSessionPool, **more: object) -> PoolRow:
    """A host that was enrolled and has not joined."""
    enrolled = PoolRow(
        id=PoolId(pool.pool_id),
        created_at_ms=1,
        endpoint="ssh://llorch@mac.example:22",
        daemon_port=pool.port,
        host_keys=("ssh-ed25519 AAAA",),
        join_token=pool.token,
    )
    return replace(enrolled, **more)  # type: ignore[arg-type] - fields by their names.


def joined(pool: FakeSessionPool) -> PoolRow:
    """A host that has joined."""
    return row(pool, join_token=None, credential=pool.credential)
