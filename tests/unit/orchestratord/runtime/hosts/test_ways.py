"""By which way a pool and its workers are reached, whatever becomes of the connection."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import httpx
import pytest

from orchestrator_core.clients.pool import AsyncPoolClient
from orchestrator_core.contracts.pool import StopRequest
from orchestrator_core.errors import Code, LlorchError, Refusal
from orchestrator_core.ids import PoolId, WorkerId
from orchestrator_core.scheduler.commands import StopWorker
from orchestrator_core.scheduler.events import Event
from orchestrator_core.testing.clocks import FakeClock
from orchestratord.runtime.hosts.ways import PoolContact, Ways
from orchestratord.runtime.poolorders import PoolOrders
from orchestratord.upstream.relay_road import RelayRoad
from orchestratord.upstream.road import DIRECT
from orchestratord.upstream.ssh_road import SshRoad
from support.certificates import SELF_SIGNED, SIGNED
from support.fake_session_pool import FakeSessionPool
from support.relay_host import RelayHost
from support.waiting import until

if TYPE_CHECKING:
    from orchestrator_core.clients.ssh.connection import SshConnection

MAC = PoolId("mac")
WORKER = WorkerId("wrk_1")


class Connection:
    """An SSH connection that leads to this machine and counts who goes over it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def http_transport(
        self, host: str, port: int, *, trust: ssl.SSLContext | None = None
    ) -> httpx.AsyncBaseTransport:
        self.asked.append((host, port))
        return httpx.AsyncHTTPTransport(verify=trust or True)


class Present:
    """The connection that there is now."""

    def __init__(self) -> None:
        self.connection: Connection | None = None

    def of(self, pool_id: PoolId) -> "SshConnection | None":
        assert pool_id == MAC
        return cast("SshConnection | None", self.connection)


@pytest.fixture
def present() -> Present:
    return Present()


@pytest.fixture
def ways(present: Present) -> Ways:
    return Ways(present.of)


@pytest.fixture
async def pool() -> AsyncIterator[FakeSessionPool]:
    async with FakeSessionPool.listening() as pool:
        yield pool


def over_ssh(port: int = 9200) -> PoolContact:
    return PoolContact(f"http://127.0.0.1:{port}", "control", "0.1.0", None, "ssh")


def over_relay(certificate: str | None = SELF_SIGNED) -> PoolContact:
    return PoolContact("https://10.0.0.7:9200", "control", "0.1.0", certificate, "relay")


def test_a_pool_of_this_machine_is_reached_directly(ways: Ways) -> None:
    contact = PoolContact("http://127.0.0.1:9200", "control", "0.1.0")
    ways.meet(MAC, contact)
    assert ways.road_to(MAC, WORKER) is DIRECT
    assert ways.contact(MAC) == contact


def test_a_pool_that_was_never_met_has_no_way(ways: Ways) -> None:
    found = ways.way(MAC)
    assert isinstance(found, Refusal)
    assert found.code is Code.POOL_NOT_FOUND


def test_a_pool_behind_ssh_is_reached_over_the_connection_of_the_moment(
    ways: Ways, present: Present
) -> None:
    ways.meet(MAC, over_ssh())
    assert isinstance(ways.road_to(MAC, WORKER), SshRoad)
    down = ways.way(MAC)
    assert isinstance(down, Refusal)
    assert (down.code, down.message) == (Code.UNREACHABLE, "the ssh connection to mac is down")
    present.connection = Connection()
    first = ways.way(MAC)
    assert first == ways.way(MAC)
    present.connection = Connection()
    assert ways.way(MAC) != first


def test_a_pool_with_a_pinned_certificate_is_reached_through_its_relay(ways: Ways) -> None:
    ways.meet(MAC, over_relay())
    assert isinstance(ways.road_to(MAC, WORKER), RelayRoad)
    assert ways.way(MAC) == ways.way(MAC)


def test_a_pin_that_cannot_be_read_is_no_way_and_never_an_open_one(ways: Ways) -> None:
    ways.meet(MAC, over_relay(None))
    found = ways.way(MAC)
    assert isinstance(found, Refusal)
    assert found.code is Code.CONFIG_INVALID


def test_a_new_session_counts_alone(ways: Ways) -> None:
    ways.meet(MAC, over_relay())
    ways.meet(MAC, over_ssh())
    assert isinstance(ways.road_to(MAC, WORKER), SshRoad)
    ways.forget(MAC)
    assert ways.contact(MAC) is None


def test_keys_do_not_show(ways: Ways) -> None:
    contact = PoolContact("http://127.0.0.1:9200", "hush", "0.1.0")
    ways.meet(MAC, contact)
    assert "hush" not in repr(ways.way(MAC))


async def test_orders_go_over_the_connection_and_over_the_next_one(
    ways: Ways, present: Present, pool: FakeSessionPool
) -> None:
    async with asyncio.TaskGroup() as tasks:
        posted: list[Event] = []
        orders = PoolOrders(clock=FakeClock(), tasks=tasks, post=posted.append, ways=ways)
        orders.meet(MAC, over_ssh(pool.port))
        assert isinstance(orders.client(MAC), Refusal)
        stop = StopWorker(pool_id=MAC, worker_id=WORKER, generation=1, revision=2)
        first = present.connection = Connection()
        orders.stop_worker(stop)
        await until(lambda: pool.orders)
        assert orders.client(MAC) is orders.client(MAC)
        second = present.connection = Connection()
        orders.stop_worker(stop)
        await until(lambda: len(pool.orders) == 2, what="the second order")
        assert [path for path, _ in pool.orders] == ["/workers/wrk_1/stop"] * 2
        assert first.asked == second.asked == [("127.0.0.1", pool.port)]
        orders.forget(MAC)
        assert isinstance(orders.client(MAC), Refusal)
        await orders.close()
    assert posted == []


async def test_a_pool_that_shows_another_certificate_gets_no_order(
    ways: Ways, tmp_path: Path
) -> None:
    async with RelayHost.listening(tmp_path) as host, asyncio.TaskGroup() as tasks:
        orders = PoolOrders(clock=FakeClock(), tasks=tasks, post=lambda _: None, ways=ways)
        endpoint = f"https://127.0.0.1:{host.port}"
        orders.meet(MAC, PoolContact(endpoint, "control", "0.1.0", SIGNED, "relay"))
        client = orders.client(MAC)
        assert isinstance(client, AsyncPoolClient)
        with pytest.raises(LlorchError, match="not trusted"):
            await client.stop("wrk_1", StopRequest())
        await orders.close()
        assert not host.connections
