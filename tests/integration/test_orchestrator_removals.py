"""Pools that go, or become another host, while sessions, orders and jobs still speak of them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import httpx
import pytest

from orchestrator_core.contracts.pool import PoolState
from orchestrator_core.ids import PoolId
from orchestrator_core.testing.reports import worker_report, worker_spec
from support.answering_pool import AnsweringPool
from support.certificates import SIGNED
from support.orchestrator import Orchestrator
from support.pool_words import (
    enrol,
    issue_token,
    join,
    join_body,
    names_of_pools,
    refusal_of,
    register_as,
    show_token,
)

MAC = PoolId("mac")


@dataclass
class SilentPool:
    """Takes every order and never says a word."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.asked.set()
            while await reader.read(65_536):
                pass
        writer.close()


@pytest.fixture
async def silent() -> AsyncIterator[SilentPool]:
    """A pool's API behind which nobody is at home."""
    pool = SilentPool()
    server = await asyncio.start_server(pool.serve, "127.0.0.1", 0)
    pool.port = server.sockets[0].getsockname()[1]
    yield pool
    server.close()
    await server.wait_closed()


def known_workers(site: Orchestrator, pool_id: PoolId) -> list[str]:
    machine = site.parts.loop.machine
    return [worker.worker_id for worker in machine.workers() if worker.pool_id == pool_id]


async def report_from(site: Orchestrator, key: str, **changes: object) -> None:
    worker = worker_report("wrk_0000000000000000000000theirs", port=8001)
    told = {"workers": [worker], "peer_key": "peer-key-of-mac", **changes}
    reply = await register_as(site, MAC, key, **told)
    assert reply.status_code == 200, reply.text


async def test_an_order_that_is_on_its_way_ends_with_the_session(
    site: Orchestrator, silent: SilentPool
) -> None:
    place = {"endpoint": f"http://127.0.0.1:{silent.port}"}
    assert (await register_as(site, "home", site.pool_key, **place)).status_code == 200
    order = {"spec": worker_spec().model_dump(mode="json")}
    spawning = asyncio.create_task(
        site.client.post("/v2/pools/home/workers/spawn", json=order, timeout=30)
    )
    await silent.asked.wait()
    assert (await register_as(site, "home", site.pool_key, **place)).status_code == 200
    reply = await spawning
    assert refusal_of(reply) == (503, "UNREACHABLE")
    assert reply.json()["error"]["message"].startswith("pool home: ")


async def test_that_a_pool_does_not_take_our_key_says_nothing_about_the_callers(
    site: Orchestrator,
) -> None:
    async with AnsweringPool.listening() as pool:
        place = {"endpoint": pool.endpoint}
        assert (await register_as(site, "home", site.pool_key, **place)).status_code == 200
        # It has restarted and has not reported yet.
        pool.key = "another"
        reply = await site.client.post("/v2/pools/home/drain")
    assert refusal_of(reply) == (503, "UNREACHABLE")
    assert reply.json()["error"]["message"].startswith("pool home does not take our key")


@pytest.mark.parametrize(
    "changes", [{"endpoint": "https://10.0.0.9:9200"}, {"certificate": SIGNED}]
)
async def test_the_workers_of_a_host_are_gone_once_its_name_means_another(
    site: Orchestrator, changes: dict[str, str]
) -> None:
    await report_from(site, await join(site))
    assert known_workers(site, MAC)
    key = await join(site, **changes)
    assert known_workers(site, MAC) == []
    assert site.parts.orders.contact(MAC) is None
    place = {"endpoint": changes.get("endpoint", "https://10.0.0.7:9200")}
    await report_from(site, key, **place)
    assert known_workers(site, MAC)


async def test_a_joined_host_that_is_enrolled_over_ssh_is_reached_by_ssh_alone(
    site: Orchestrator,
) -> None:
    await report_from(site, await join(site))
    await enrol(site)
    assert known_workers(site, MAC) == []
    assert site.parts.orders.contact(MAC) is None
    assert site.parts.loop.machine.pool_status(MAC) is None


async def test_a_host_that_joins_anew_as_it_was_keeps_its_workers(site: Orchestrator) -> None:
    await report_from(site, await join(site))
    await join(site)
    assert known_workers(site, MAC)
    assert site.parts.loop.machine.pool_status(MAC) is PoolState.ONLINE


async def test_a_beat_of_the_session_before_the_removal_counts_for_nothing(
    site: Orchestrator,
) -> None:
    old = await join(site)
    opened = (await register_as(site, MAC, old)).json()
    await site.client.delete("/v2/pools/mac")
    new = await join(site)
    beat = site.beat_body(pool_id=MAC, session_id=opened["session_id"], seq=1)
    assert refusal_of(await site.as_pool("/v2/pools/mac/heartbeat", beat, old)) == (401, "BAD_KEY")
    reply = await site.as_pool("/v2/pools/mac/heartbeat", beat, new)
    assert refusal_of(reply) == (409, "STALE_SESSION")
    assert (await register_as(site, MAC, new)).status_code == 200


async def test_a_token_that_nobody_used_can_be_taken_back_by_its_name(
    site: Orchestrator,
) -> None:
    token = await issue_token(site)
    assert (await site.client.delete("/v2/pools/mac")).status_code == 200
    assert await site.store.join_tokens() == []
    assert refusal_of(await show_token(site, join_body(token))) == (403, "BAD_TOKEN")
    assert refusal_of(await site.client.delete("/v2/pools/mac")) == (404, "POOL_NOT_FOUND")
    assert await names_of_pools(site) == ["home"]


async def test_a_removal_that_meets_a_join_leaves_all_or_nothing(site: Orchestrator) -> None:
    for _ in range(5):
        token = await issue_token(site)
        joined, removed = await asyncio.gather(
            show_token(site, join_body(token)), site.client.delete("/v2/pools/mac")
        )
        assert removed.status_code == 200
        assert await names_of_pools(site) == [row.id for row in await site.store.pools()] + ["home"]
        if joined.status_code == 200:
            key = joined.json()["key"]
            expected = 401 if not await site.store.pools() else 200
            assert (await register_as(site, MAC, key)).status_code == expected
        await site.client.delete("/v2/pools/mac")


async def test_a_job_for_a_removed_pool_waits_and_says_why_until_it_is_back(
    site: Orchestrator,
) -> None:
    await join(site)
    job_id = await site.submit(pin={"pool": "mac"})
    await site.client.delete("/v2/pools/mac")
    why = (await site.job(job_id))["why"]
    assert "is pinned to pool mac" in why
    assert "pool mac is not known: it never registered, or was removed" in why
    await site.client.delete(f"/v2/tasks/{job_id}")


@pytest.mark.parametrize(
    ("caller", "endpoint", "status"),
    [
        ("10.0.0.7", "https://127.0.0.1:9200", 400),
        ("10.0.0.7", "https://localhost:9200", 400),
        ("10.0.0.7", "https://[::1]:9200", 400),
        ("10.0.0.7", "https://10.0.0.7:9200", 200),
        ("127.0.0.1", "https://127.0.0.1:9200", 200),
    ],
)
async def test_only_who_is_here_may_say_that_its_pool_is_here(
    site: Orchestrator, caller: str, endpoint: str, status: int
) -> None:
    token = await issue_token(site)
    far = httpx.ASGITransport(app=site.parts.app, client=(caller, 50_000))
    async with httpx.AsyncClient(base_url=site.url, transport=far) as stranger:
        body = join_body(token, endpoint=endpoint)
        reply = await stranger.post("/v2/pools/join", json=body)
        assert reply.status_code == status, reply.text
        if status == 400:
            # The token is good for another try.
            again = await stranger.post("/v2/pools/join", json=join_body(token))
            assert again.status_code == 200
