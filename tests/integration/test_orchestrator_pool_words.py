"""Orders that are passed on to pools, and pools that hear of each other."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from orchestrator_core.contracts.pool import PoolState
from orchestrator_core.ids import PoolId
from orchestrator_core.scheduler.events import Tick
from orchestrator_core.testing.reports import worker_spec
from support.answering_pool import AnsweringPool
from support.certificates import SELF_SIGNED
from support.orchestrator import (
    Orchestrator,
)
from support.pool_words import (
    enrol,
    join,
    refusal_of,
    register_as,
)


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """Every line that is logged meanwhile."""
    with capture_logs() as found:
        yield found


async def let_time_pass(site: Orchestrator, seconds: int) -> None:
    """Let the clock go on and the alarm ring every few seconds, as it does in life."""
    for _ in range(0, seconds, 2):
        site.clock.advance(2)
        site.parts.loop.post(Tick(at=site.clock.monotonic_s()))
        await asyncio.sleep(0)


@pytest.fixture
async def pool(site: Orchestrator) -> AsyncIterator[AnsweringPool]:
    """The pool of this machine, with an API of its own."""
    async with AnsweringPool.listening() as pool:
        place = {"endpoint": pool.endpoint}
        assert (await register_as(site, "home", site.pool_key, **place)).status_code == 200
        yield pool


async def test_drain_and_resume_reach_the_pool(site: Orchestrator, pool: AnsweringPool) -> None:
    for verb, draining in (("drain", True), ("drain", True), ("resume", False)):
        reply = await site.client.post(f"/v2/pools/home/{verb}")
        assert (reply.status_code, reply.json()["draining"]) == (200, draining)
        assert pool.draining is draining
        assert "worker-key" not in reply.text
    assert [path for _, path, _ in pool.orders] == ["/drain", "/drain", "/resume"]


async def test_a_person_spawns_a_worker_on_a_pool_by_its_name(
    site: Orchestrator, pool: AnsweringPool
) -> None:
    spec = worker_spec().model_dump(mode="json")
    reply = await site.client.post("/v2/pools/home/workers/spawn", json={"spec": spec})
    assert reply.status_code == 201, reply.text
    assert reply.json()["key"] is None
    [(method, path, sent)] = pool.orders
    assert (method, path) == ("POST", "/workers/spawn")
    assert "worker_id" not in sent
    named = {"spec": spec, "worker_id": "wrk_" + "0" * 26}
    reply = await site.client.post("/v2/pools/home/workers/spawn", json=named)
    assert refusal_of(reply) == (400, "INVALID_REQUEST")
    assert len(pool.orders) == 1


async def test_what_the_pool_refuses_is_told_as_it_said_it(
    site: Orchestrator, pool: AnsweringPool
) -> None:
    pool.refusal = {"code": "MODEL_NOT_PULLED", "message": "pull it first: llorch-pool pull x"}
    spec = worker_spec().model_dump(mode="json")
    reply = await site.client.post("/v2/pools/home/workers/spawn", json={"spec": spec})
    assert refusal_of(reply) == (409, "MODEL_NOT_PULLED")
    assert reply.json()["error"]["message"] == "pull it first: llorch-pool pull x"


@pytest.mark.parametrize("verb", ["drain", "resume", "workers/spawn"])
async def test_orders_for_a_pool_that_is_not_there_say_so(site: Orchestrator, verb: str) -> None:
    body = {"spec": worker_spec().model_dump(mode="json")}
    reply = await site.client.post(f"/v2/pools/attic/{verb}", json=body)
    assert refusal_of(reply) == (404, "POOL_NOT_FOUND")
    await enrol(site)
    reply = await site.client.post(f"/v2/pools/mac/{verb}", json=body)
    assert refusal_of(reply) == (503, "UNREACHABLE")


async def sharing(site: Orchestrator, pool_id: str, number: int, **more: object) -> dict[str, Any]:
    """Join and register a pool that shares its models."""
    place = {"endpoint": f"https://10.0.0.{number}:9200"}
    key = await join(site, pool_id, **place)
    place["peer_key"] = f"peer-key-of-{pool_id}"
    reply = await register_as(site, pool_id, key, **{**place, **more})
    assert reply.status_code == 200, reply.text
    return {"key": key, **reply.json()}


async def beat(site: Orchestrator, pool_id: str, opened: dict[str, Any]) -> list[dict[str, Any]]:
    opened["seq"] = opened.get("seq", 0) + 1
    body = site.beat_body(pool_id=pool_id, session_id=opened["session_id"], seq=opened["seq"])
    reply = await site.as_pool(f"/v2/pools/{pool_id}/heartbeat", body, opened["key"])
    assert reply.status_code == 200, reply.text
    return reply.json()["peers"]


async def test_pools_that_share_hear_of_each_other_with_the_next_beat(site: Orchestrator) -> None:
    mac = await sharing(site, "mac", 7)
    assert mac["peers"] == []
    box = await sharing(site, "box", 8)
    [peer] = box["peers"]
    assert peer == {
        "pool_id": "mac",
        "url": "https://10.0.0.7:9200",
        "certificate": SELF_SIGNED,
        "key": "peer-key-of-mac",
    }
    assert [peer["pool_id"] for peer in await beat(site, "mac", mac)] == ["box"]
    await site.client.delete("/v2/pools/box")
    assert await beat(site, "mac", mac) == []


async def test_a_pool_that_shares_nothing_is_a_peer_of_nobody_and_still_hears(
    site: Orchestrator,
) -> None:
    await sharing(site, "mac", 7)
    box = await sharing(site, "box", 8, peer_key=None)
    assert [peer["pool_id"] for peer in box["peers"]] == ["mac"]
    home = await site.register()
    assert [peer["pool_id"] for peer in home["peers"]] == ["mac"]


async def test_a_silent_pool_is_no_peer(site: Orchestrator) -> None:
    await sharing(site, "mac", 7)
    await let_time_pass(site, 16)
    assert site.parts.loop.machine.pool_status(PoolId("mac")) is PoolState.SUSPECT
    assert (await sharing(site, "box", 8))["peers"] == []


async def test_peer_keys_are_told_to_pools_only(site: Orchestrator, lines: list[EventDict]) -> None:
    await sharing(site, "mac", 7)
    seen = repr(lines) + (await site.client.get("/v2/pools")).text
    seen += (await site.client.get("/v2/pools/mac")).text
    assert "peer-key" not in seen
