"""A whole orchestratord in the test's own loop: real parts, a real socket, a clock that stands still.

The sweeper does not run: a test advances the clock and calls sweep() itself. Workers are announced
as a pool does it, by a registration over HTTP with the local pool's key.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from orchestrator_core.catalog.entries import spec_for
from orchestrator_core.catalog.resolve import Catalog
from orchestrator_core.clients.trust import Trust
from orchestrator_core.config.layout import Layout
from orchestrator_core.contracts.pool import Owner, WorkerReport, WorkerStatus
from orchestrator_core.daemon.presence import url_of
from orchestrator_core.daemon.tls import open_tls
from orchestrator_core.errors import Refusal
from orchestrator_core.idgen import IdSource
from orchestrator_core.testing.clocks import FakeClock
from orchestrator_core.testing.reports import device_report, worker_report
from orchestratord.app.client_sockets import set_up_clients
from orchestratord.app.enrolled import open_enrolled
from orchestratord.app.first_keys import open_keyring
from orchestratord.app.parts import Parts, build_parts
from orchestratord.app.server import EmbeddedServer
from orchestratord.runtime.keys.keyring import KeyRing, fresh_key, key_hash
from orchestratord.serving.admission.recovery import restore_jobs
from orchestratord.settings import OrchestratorSettings
from orchestratord.store.memory import MemoryStore
from orchestratord.store.port import JobStore
from orchestratord.store.rows import KeyRow
from orchestratord.store.writes import PutKey
from support.event_streams import EventStream
from support.waiting import until

__all__ = [
    "VERSION", "Orchestrator", "chat_body", "nobody_waits", "ready_worker", "running_orchestrator",
]  # fmt: skip

VERSION = "0.1.0"
_WAIT_S = 10.0


def ready_worker(
    port: int,
    number: int = 1,
    *,
    model: str = "tiny-chat",
    status: WorkerStatus = WorkerStatus.READY,
    incarnation: int = 1,
) -> WorkerReport:
    """A person's own worker that serves a built-in model on this port."""
    entry = Catalog.load().resolve(model)
    assert not isinstance(entry, Refusal)
    report = worker_report(
        f"wrk_{number:026d}",
        owner=Owner.OPERATOR,
        status=status,
        spec=spec_for(entry),
        port=port,
        incarnation=incarnation,
    )
    return report.model_copy(update={"name": f"worker-cpu-{number}"})


@dataclass
class Orchestrator:
    """One running orchestratord and the words that a client says to it."""

    url: str
    key: str
    pool_key: str
    parts: Parts
    store: JobStore
    keys: KeyRing
    ids: IdSource
    clock: FakeClock
    server: EmbeddedServer
    client: httpx.AsyncClient
    stopping: asyncio.Event
    failures: list[BaseException] = field(default_factory=list)
    _seq: int = 0
    _session: str = ""

    def sweep(self, advance_s: float = 0.0) -> None:
        """Let time pass, then look once as the sweeper does every second."""
        self.clock.advance(advance_s)
        for check in (*self.parts.checks, self.server.sweep):
            check()

    async def as_pool(self, path: str, body: object, key: str | None = None) -> httpx.Response:
        """Say something as the pool of this machine."""
        headers = {"authorization": f"Bearer {key or self.pool_key}"}
        return await self.client.post(path, json=body, headers=headers)

    def registration(self, workers: Iterable[WorkerReport] = (), **more: object) -> dict[str, Any]:
        """The body of a registration."""
        return {
            "pool_id": "home",
            "session_id": self._session,
            "endpoint": "http://127.0.0.1:9",
            "control_key": "control",
            "version": VERSION,
            "devices": [device_report().model_dump(mode="json")],
            "workers": [worker.model_dump(mode="json") for worker in workers],
            "models": [],
            "engines": ["embedded"],
            **more,
        }

    def beat_body(self, workers: Iterable[WorkerReport] = (), **more: object) -> dict[str, Any]:
        """The body of a heartbeat."""
        return {
            "pool_id": "home",
            "session_id": self._session,
            "seq": self._seq,
            "devices": [device_report().model_dump(mode="json")],
            "workers": [worker.model_dump(mode="json") for worker in workers],
            **more,
        }

    async def register(self, *workers: WorkerReport) -> dict[str, Any]:
        """Open a session as a pool with these workers."""
        self._session, self._seq = self.ids.session(), 0
        reply = await self.as_pool("/v2/pools/register", self.registration(workers))
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def beat(self, *workers: WorkerReport) -> dict[str, Any]:
        """Report these workers."""
        self._seq += 1
        self.clock.advance(0.001)
        reply = await self.as_pool("/v2/pools/home/heartbeat", self.beat_body(workers))
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def submit(self, prompt: str = "Hello", **more: object) -> str:
        """Queue a job and return its id."""
        body = {"model": "tiny-chat", "prompt": prompt, **more}
        reply = await self.client.post("/v2/tasks", json=body)
        assert reply.status_code == 202, reply.text
        return str(reply.json()["job_id"])

    async def job(self, job_id: str) -> dict[str, Any]:
        """Show a job."""
        reply = await self.client.get(f"/v2/tasks/{job_id}")
        assert reply.status_code == 200, reply.text
        return reply.json()

    async def ended(self, job_id: str) -> dict[str, Any]:
        """Wait for a job's end and show it."""

        async def look() -> dict[str, Any] | None:
            found = await self.job(job_id)
            return found if found["ended_at"] else None

        found = await until(look, what=f"the end of {job_id}")
        assert found is not None
        return found

    @contextlib.asynccontextmanager
    async def events(
        self, job_id: str, *, after: int | None = None, last_event_id: str | None = None
    ) -> AsyncIterator[EventStream]:
        """Read a job's events."""
        query = {} if after is None else {"after": str(after)}
        headers = {} if last_event_id is None else {"last-event-id": last_event_id}
        path = f"/v2/tasks/{job_id}/events"
        async with self.client.stream("GET", path, params=query, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            yield EventStream(response)

    async def replay(self, job_id: str) -> bytes:
        """All events of an ended job as bytes."""
        async with self.events(job_id) as stream:
            await stream.rest()
            return stream.raw

    @contextlib.asynccontextmanager
    async def chat(self, prompt: str = "Hello", **more: object) -> AsyncIterator[EventStream]:
        """Ask for a streamed chat."""
        body = chat_body(prompt, stream=True, **more)
        async with self.client.stream("POST", "/v1/chat/completions", json=body) as response:
            yield EventStream(response)

    async def ask(self, prompt: str = "Hello", **more: object) -> httpx.Response:
        """Ask for a chat in one piece."""
        return await self.client.post("/v1/chat/completions", json=chat_body(prompt, **more))

    async def make_key(self, *scopes: str, **more: Any) -> str:
        """Put a key where it belongs without a request, and let it in."""
        token = fresh_key("test")
        row = KeyRow(
            id=self.ids.key(),
            name="test",
            hash=key_hash(token),
            scopes=scopes,
            created_at_ms=self.clock.unix_ms(),
            **more,
        )
        await self.store.submit(PutKey(row))
        self.keys.add(row)
        return token

    async def metric(self, name: str) -> float:
        """Read one number of /metrics."""
        reply = await self.client.get("/metrics")
        for line in reply.text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"no {name} in\n{reply.text}")


def chat_body(prompt: str = "Hello", **more: object) -> dict[str, Any]:
    """The body of a chat."""
    return {"model": "tiny-chat", "messages": [{"role": "user", "content": prompt}], **more}


async def _hang_up(server: EmbeddedServer, serving: asyncio.Task[None]) -> None:
    """Close at once: uvicorn's own orderly end looks at its flag only ten times a second."""
    serving.cancel()
    for listening in server.servers:
        listening.close()
    for connection in list(server.server_state.connections):
        connection.transport.abort()
    async with asyncio.timeout(_WAIT_S):
        await asyncio.gather(*server.server_state.tasks, return_exceptions=True)


def _fast(settings: dict[str, object]) -> OrchestratorSettings:
    quick = {"headers_after_s": 0.05, "connect_timeout_s": 2.0, "shutdown_grace_s": 0.2}
    return OrchestratorSettings.model_validate({**quick, **settings})


@contextlib.asynccontextmanager
async def running_orchestrator(
    folder: Path,
    *,
    store: JobStore | None = None,
    clock: FakeClock | None = None,
    on_parts: Callable[[Parts], None] | None = None,
    connections_limit: int = 1000,
    **settings: object,
) -> AsyncIterator[Orchestrator]:
    """Run one for a block; the store is the caller's and stays open behind it."""
    clock = clock or FakeClock()
    store = store or MemoryStore()
    ids = IdSource(clock)
    layout = Layout.from_env({"LLORCH_HOME": str(folder)})
    layout.state.mkdir(parents=True, exist_ok=True)
    keys, _ = await open_keyring(store=store, layout=layout, clock=clock, ids=ids)
    enrolled = await open_enrolled(
        store=store,
        keys=keys,
        clock=clock,
        ids=ids,
        ssh_key=layout.orchestrator_ssh_key,
        declared=_fast(settings).pools,
    )
    listener = socket.create_server(("127.0.0.1", 0))
    # The system's own buffers would hide for megabytes that a client does not read.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
    stopping = asyncio.Event()
    failures: list[BaseException] = []
    chosen = _fast(settings)
    tls = open_tls(chosen.tls_cert, chosen.tls_key)
    assert not isinstance(tls, Refusal), tls
    url = url_of(listener, encrypted=tls is not None)
    set_up_clients(listener, chosen.slow_reader_s)
    admin = layout.admin_key.read_text().strip()
    async with asyncio.TaskGroup() as tasks:
        parts = build_parts(
            catalog=Catalog.load(),
            settings=chosen,
            version=VERSION,
            hosts=(),
            store=store,
            keys=keys,
            enrolled=enrolled,
            clock=clock,
            ids=ids,
            tasks=tasks,
            draw_bits=secrets.randbits,
            is_stopping=stopping.is_set,
            on_failure=failures.append,
        )
        if on_parts is not None:
            on_parts(parts)
        await restore_jobs(
            journal=parts.journal,
            jobs=parts.jobs,
            loop=parts.loop,
            catalog=parts.catalog,
            ledger=parts.ledger,
            default_max_tokens=chosen.default_max_tokens,
        )
        server = EmbeddedServer(
            parts.app,
            chosen.shutdown_grace_s,
            None if tls is None else tls.context,
            now=clock.monotonic_s,
            connections_limit=connections_limit,
            handshake_s=0.5,
        )
        serving = tasks.create_task(server.serve(sockets=[listener]))
        await server.listening.wait()
        parts.links.open()
        client = httpx.AsyncClient(
            base_url=url,
            headers={"authorization": f"Bearer {admin}"},
            timeout=_WAIT_S,
            verify=True if tls is None else Trust(tls.cert_file, is_peers_own=True).context(),
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )
        site = Orchestrator(
            url=url,
            key=admin,
            pool_key=layout.local_pool_key.read_text().strip(),
            parts=parts,
            store=store,
            keys=keys,
            ids=ids,
            clock=clock,
            server=server,
            client=client,
            stopping=stopping,
            failures=failures,
        )
        try:
            yield site
        finally:
            await client.aclose()
            await _hang_up(server, serving)
            await parts.close()
            listener.close()


async def nobody_waits(site: Orchestrator) -> bool:
    """Tell whether nothing lives in the orchestrator any more."""
    return not len(site.parts.jobs) and not len(site.parts.open_calls)
