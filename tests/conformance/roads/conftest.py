"""The roads to workers, one after the other, on both loops."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from orchestrator_core.clients.pinned import pinned_context
from orchestrator_core.clients.ssh.connection import Login, SshConnection, connect
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.clients.ssh.host_keys import KnownHosts
from orchestrator_core.errors import Refusal
from orchestratord.upstream.relay_road import Relay, RelayRoad
from orchestratord.upstream.road import DIRECT, Road
from orchestratord.upstream.ssh_road import SshRoad
from support.relay_host import RelayHost
from support.scripted_peer import ScriptedWorker
from support.sshd import Sshd, needs_sshd, running_sshd

WORKER = "wrk_00000000000000000000000001"


class Lab:
    """One road, the worker at its end, and what can go wrong on the way."""

    def __init__(self, name: str, road: Road, worker: ScriptedWorker) -> None:
        self.name = name
        self.road = road
        self.worker = worker
        self.address = worker.address
        self.hang: Callable[[], None] = lambda: None
        self.break_down: Callable[[], None] | None = None


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the loops that a road must work on."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="package")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One server for all tests; each has a connection of its own."""
    with running_sshd(tmp_path_factory.mktemp("sshd"), settings="MaxStartups 100") as sshd:
        yield sshd


@pytest.fixture(
    params=["direct", pytest.param("ssh", marks=needs_sshd), "relay"],
)
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Lab]:
    """A road to a worker that does what the test says."""
    worker = ScriptedWorker()
    try:
        match request.param:
            case "direct":
                with _direct(worker) as lab:
                    yield lab
            case "ssh":
                async with _ssh(worker, request.getfixturevalue("sshd")) as lab:
                    yield lab
            case _:
                async with _relay(worker, tmp_path) as lab:
                    yield lab
    finally:
        worker.close()


@contextlib.contextmanager
def _direct(worker: ScriptedWorker) -> Iterator[Lab]:
    lab = Lab("direct", DIRECT, worker)
    with contextlib.ExitStack() as sockets:

        def hang() -> None:
            # A listener whose queue is full answers nobody any more.
            full = sockets.enter_context(socket.socket())
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            lab.address = full.getsockname()
            for _ in range(2):
                waiting = sockets.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(lab.address)

        lab.hang = hang
        yield lab


@contextlib.asynccontextmanager
async def _ssh(worker: ScriptedWorker, sshd: Sshd) -> AsyncIterator[Lab]:
    login = Login(known_hosts=KnownHosts((sshd.known_hosts,)), client_key=sshd.client_key)
    found = await connect(Destination("127.0.0.1", sshd.user, sshd.port), login)
    assert not isinstance(found, Refusal), found
    present: list[SshConnection] = [found]
    lab = Lab("ssh", SshRoad("mac", lambda: present[0] if present else None), worker)

    def break_down() -> None:
        present.clear()
        found.abort()

    lab.hang, lab.break_down = sshd.stop, break_down
    try:
        yield lab
    finally:
        sshd.resume()
        await found.aclose()


@contextlib.asynccontextmanager
async def _relay(worker: ScriptedWorker, folder: Path) -> AsyncIterator[Lab]:
    async with RelayHost.listening(folder) as host:
        host.workers[WORKER] = worker.address[1]
        trust = pinned_context(host.certificate)
        assert not isinstance(trust, Refusal)
        relay = Relay("mac", ("127.0.0.1", host.port), trust, host.control_key)
        lab = Lab("relay", RelayRoad(relay, WORKER), worker)

        def hang() -> None:
            host.mute = True

        def break_down() -> None:
            host.stop_listening()
            host.drop_all()

        lab.hang, lab.break_down = hang, break_down
        yield lab
