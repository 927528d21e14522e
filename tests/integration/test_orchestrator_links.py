"""The link to a host where only SSH is open: enrolled, joined, lost, refused, removed."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestratord.store.sqlite import SqliteStore, StoreOptions
from support.fake_engine import FakeEngine
from support.far_hosts import SshHost, ssh_host
from support.orchestrator import Orchestrator, ready_worker, running_orchestrator
from support.sshd import needs_sshd
from support.waiting import until

pytestmark = needs_sshd


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    options = StoreOptions(synchronous="NORMAL")
    store = await SqliteStore.open(tmp_path / "orchestrator.db", options)
    yield store
    await store.close()


@pytest.fixture
async def site(tmp_path: Path, store: SqliteStore) -> AsyncIterator[Orchestrator]:
    """An orchestrator without any pool."""
    async with running_orchestrator(tmp_path, store=store) as site:
        yield site
        assert site.failures == []


@pytest.fixture
async def host(site: Orchestrator, tmp_path: Path) -> AsyncIterator[SshHost]:
    """A host that is not enrolled yet."""
    async with ssh_host(site, tmp_path) as host:
        yield host


async def test_a_host_joins_by_its_token_and_is_shown_as_up(host: SshHost) -> None:
    await host.enrol()
    await host.register()
    shown = await host.link_is("up")
    assert (shown["road"], shown["joined"], shown["reason"]) == ("ssh", True, None)
    assert shown["status"] == "online"
    assert host.pool.joins == [host.pool.token]


async def test_a_restarted_orchestrator_needs_no_token_any_more(
    tmp_path: Path, store: SqliteStore
) -> None:
    async with (
        running_orchestrator(tmp_path, store=store) as site,
        ssh_host(site, tmp_path) as host,
    ):
        await host.enrol()
        await host.register()
        await site.parts.close()
        async with running_orchestrator(tmp_path, store=store) as again:
            host.site = again
            await host.pool.held(2)
            await host.register()
            await host.link_is("up")
        assert host.pool.joins == [host.pool.token]


async def test_orders_reach_the_pool_through_the_same_connection(
    site: Orchestrator, host: SshHost, engine: FakeEngine
) -> None:
    await host.enrol()
    worker = ready_worker(engine.port)
    await host.register(worker)
    reply = await site.client.post("/v2/pools/mac/drain")
    await until(lambda: host.pool.orders, what="an order")
    path, _ = host.pool.orders[0]
    assert path == "/drain", reply.text
    assert len(host.sshd.session_pids()) <= 2


async def test_a_lost_connection_is_made_anew(host: SshHost) -> None:
    await host.enrol()
    await host.register()
    host.cut()
    await host.come_back()
    await host.link_is("up")
    assert host.pool.joins == [host.pool.token]


async def test_a_server_that_comes_back_is_found_again(host: SshHost) -> None:
    await host.enrol()
    await host.register()
    host.cuts = host.pool.streams
    host.sshd.kill()
    shown = await host.link_is("connecting")
    assert shown["reason"]
    assert "\n" not in shown["reason"]
    host.sshd.start()
    await host.come_back()
    await host.link_is("up")


async def test_another_host_key_is_for_a_person_and_nothing_is_said_to_that_host(
    host: SshHost,
) -> None:
    await host.enrol()
    await host.register()
    streams = host.pool.streams
    host.sshd.change_host_key()
    shown = await host.link_is("needs_attention")
    assert "key" in shown["reason"]
    assert "\n" not in shown["reason"]
    assert host.pool.streams == streams
    # A person has looked at the new key and enrols it.
    await host.enrol()
    await host.pool.held(streams + 1)


async def test_a_login_that_is_refused_is_for_a_person(host: SshHost) -> None:
    host.sshd.forget_keys()
    await host.enrol()
    shown = await host.link_is("needs_attention")
    assert "\n" not in shown["reason"]
    assert host.pool.joins == []


async def test_a_wrong_token_is_for_a_person(host: SshHost) -> None:
    await host.enrol(token="a-token-that-nobody-gave-out")
    shown = await host.link_is("needs_attention")
    assert shown["reason"] == "on host mac: this token opens nothing here"
    assert shown["joined"] is False
    await host.enrol()
    await host.register()
    await host.link_is("up")


async def test_a_removed_host_is_let_go_of(site: Orchestrator, host: SshHost) -> None:
    await host.enrol()
    await host.register()
    reply = await site.client.delete("/v2/pools/mac")
    assert reply.is_success, reply.text
    await until(lambda: not host.sshd.session_pids(), what="the end of the connection")
    assert (await site.client.get("/v2/pools/mac")).status_code == 404


async def test_a_links_words_are_none_of_the_request_that_enrolled_the_host(
    host: SshHost, capfd: pytest.CaptureFixture[str]
) -> None:
    await host.enrol()
    await host.register()
    await host.link_is("up")
    said = capfd.readouterr().out.splitlines()
    (enrolled,) = (line for line in said if "pool.enrolled" in line)
    (up,) = (line for line in said if "link.up" in line)
    assert "correlation_id" in enrolled
    assert "correlation_id" not in up


async def test_neither_key_nor_token_is_shown_or_logged(
    site: Orchestrator, host: SshHost, capfd: pytest.CaptureFixture[str]
) -> None:
    await host.enrol()
    await host.register()
    shown = json.dumps(await host.link_is("up"))
    said = "".join(capfd.readouterr())
    for secret in (host.pool.token, host.pool.credential, "control-of-the-session"):
        assert secret not in shown
        assert secret not in said
