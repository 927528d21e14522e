"""Hosts that an orchestrator of a test reaches by a road of its own: through SSH, or by a relay.

Enrolled as a person does it, over the API; the server of SSH and the relay's TLS are real.
"""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestrator_core.contracts.pool import WorkerReport
from support.fake_session_pool import FakeSessionPool
from support.orchestrator import VERSION, Orchestrator
from support.relay_host import RelayHost
from support.sshd import Sshd, running_sshd
from support.waiting import until

__all__ = ["FarHost", "RelayedHost", "SshHost", "relayed_host", "ssh_host"]

_OPTIONS = 'restrict,port-forwarding,permitopen="127.0.0.1:*"'


class FarHost(Protocol):
    """One host behind a road."""

    async def register(self, *workers: WorkerReport) -> None:
        """Open a session with these workers."""
        ...

    async def beat(self, *workers: WorkerReport) -> None:
        """Report these workers."""
        ...

    def cut(self) -> None:
        """Break every connection; new ones are welcome."""
        ...

    async def come_back(self, *workers: WorkerReport) -> None:
        """Speak again after a cut."""
        ...


@dataclass
class SshHost:
    """A host where only SSH is open."""

    site: Orchestrator
    sshd: Sshd
    pool: FakeSessionPool
    cuts: int = 0

    async def register(self, *workers: WorkerReport) -> None:
        """Open a session with these workers."""
        await self.pool.held()
        answer = await self.pool.register(*workers)
        assert answer.get("registered"), answer

    async def beat(self, *workers: WorkerReport) -> None:
        """Report these workers."""
        self.site.clock.advance(0.001)
        answer = await self.pool.beat(*workers)
        assert answer.get("reply"), answer

    def cut(self) -> None:
        """Kill the server's sessions."""
        self.cuts = self.pool.streams
        self.sshd.cut()

    async def come_back(self, *workers: WorkerReport) -> None:
        """Wait for the next session, and register in it."""
        await self.pool.held(self.cuts + 1)
        self.site.clock.advance(0.001)
        answer = await self.pool.register(*workers)
        assert answer.get("registered"), answer

    async def enrol(self, **more: object) -> None:
        """Enrol the host."""
        order = {
            "pool_id": self.pool.pool_id,
            "endpoint": f"ssh://{self.sshd.user}@127.0.0.1:{self.sshd.port}",
            "host_keys": [" ".join(self.sshd.host_key_line.split()[:2])],
            "token": self.pool.token,
            "daemon_port": self.pool.port,
            **more,
        }
        reply = await self.site.client.post("/v2/pools", json=order)
        assert reply.is_success, reply.text

    async def shown(self) -> dict[str, Any]:
        """How the orchestrator shows the pool."""
        reply = await self.site.client.get(f"/v2/pools/{self.pool.pool_id}")
        assert reply.is_success, reply.text
        return reply.json()

    async def link_is(self, word: str) -> dict[str, Any]:
        """Wait until the link is in this state, and show the pool."""

        async def look() -> dict[str, Any] | None:
            found = await self.shown()
            return found if found["link"] == word else None

        found = await until(look, what=f"a link that is {word}")
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def ssh_host(site: Orchestrator, folder: Path) -> AsyncGenerator[SshHost]:
    """Run one for a block, with our key let in; nothing is enrolled yet."""
    with running_sshd(folder / "sshd") as sshd:
        async with FakeSessionPool.listening() as pool:
            reply = await site.client.get("/v2/ssh-key")
            assert reply.is_success, reply.text
            sshd.authorize(reply.json()["public_key"], options=_OPTIONS)
            yield SshHost(site, sshd, pool)


@dataclass
class RelayedHost:
    """A host whose pool comes to the orchestrator, and relays to its workers."""

    site: Orchestrator
    relay: RelayHost
    key: str
    session: str = ""
    seq: int = 0

    async def register(self, *workers: WorkerReport) -> None:
        """Open a session with these workers."""
        self.session, self.seq = self.site.ids.session(), 0
        self.relay.workers = {worker.id: worker.port or 0 for worker in workers}
        body = self.site.registration(
            workers,
            pool_id="mac",
            session_id=self.session,
            endpoint=f"https://127.0.0.1:{self.relay.port}",
            control_key=self.relay.control_key,
        )
        reply = await self.site.as_pool("/v2/pools/register", body, self.key)
        assert reply.is_success, reply.text

    async def beat(self, *workers: WorkerReport) -> None:
        """Report these workers."""
        self.seq += 1
        self.site.clock.advance(0.001)
        self.relay.workers = {worker.id: worker.port or 0 for worker in workers}
        body = self.site.beat_body(workers, pool_id="mac", session_id=self.session, seq=self.seq)
        reply = await self.site.as_pool("/v2/pools/mac/heartbeat", body, self.key)
        assert reply.is_success, reply.text

    def cut(self) -> None:
        """Break every relayed connection."""
        self.relay.drop_all()

    async def come_back(self, *workers: WorkerReport) -> None:
        """Say that the workers are still there."""
        await self.beat(*workers)


@contextlib.asynccontextmanager
async def relayed_host(site: Orchestrator, folder: Path) -> AsyncGenerator[RelayedHost]:
    """Run one for a block; it has joined."""
    async with RelayHost.listening(folder) as relay:
        reply = await site.client.post("/v2/pools/join-tokens", json={"pool_id": "mac"})
        assert reply.is_success, reply.text
        request = {
            "token": reply.json()["token"],
            "pool_id": "mac",
            "endpoint": f"https://127.0.0.1:{relay.port}",
            "version": VERSION,
            "certificate": relay.certificate,
        }
        reply = await site.client.post("/v2/pools/join", json=request)
        assert reply.is_success, reply.text
        yield RelayedHost(site, relay, reply.json()["key"])
