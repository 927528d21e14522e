"""Hosts that administrators enrol and remove, and what goes on meanwhile."""

import asyncio
import base64
import hashlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from orchestrator_core.contracts.pool import PoolState
from orchestrator_core.ids import PoolId
from orchestrator_core.scheduler.events import Tick
from support.event_streams import chunks_of, said
from support.fake_engine import FakeEngine
from support.orchestrator import Orchestrator, ready_worker, running_orchestrator
from support.pool_words import (
    HOST_KEY,
    NOWHERE,
    SSH_TOKEN,
    enrol,
    join,
    names_of_pools,
    refusal_of,
    register_as,
)
from support.waiting import until


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


async def test_a_host_behind_ssh_is_enrolled_and_shown_with_its_link(site: Orchestrator) -> None:
    reply = await enrol(site)
    assert reply.status_code == 202, reply.text
    made = reply.json()
    assert (made["road"], made["endpoint"], made["joined"]) == ("ssh", NOWHERE, False)

    async def tried() -> dict[str, Any] | None:
        pool = (await site.client.get("/v2/pools/mac")).json()
        return pool if pool["reason"] else None

    pool = await until(tried, what="a link that was tried")
    assert pool is not None
    assert (pool["link"], pool["status"], pool["road"]) == ("connecting", "lost", "ssh")
    assert "\n" not in pool["reason"]
    assert await names_of_pools(site) == ["home", "mac"]


async def test_no_secret_of_an_enrolment_is_shown_logged_or_printed(
    site: Orchestrator, lines: list[EventDict]
) -> None:
    reply = await enrol(site)
    seen = reply.text + repr(lines) + repr(await site.store.pools())
    seen += (await site.client.get("/v2/pools")).text
    assert SSH_TOKEN not in seen
    [row] = await site.store.pools()
    assert row.join_token == SSH_TOKEN


async def test_enrolling_a_host_anew_takes_what_changed(site: Orchestrator) -> None:
    await enrol(site)
    [before] = await site.store.pools()
    site.clock.advance(5)
    changed = await enrol(site, endpoint="ssh://you@127.0.0.1:2", token="another-token-of-mac")
    assert changed.status_code == 202
    [row] = await site.store.pools()
    assert (row.endpoint, row.join_token) == ("ssh://you@127.0.0.1:2", "another-token-of-mac")
    assert row.created_at_ms == before.created_at_ms
    assert await names_of_pools(site) == ["home", "mac"]


async def test_a_host_that_joined_and_is_enrolled_over_ssh_loses_its_key(
    site: Orchestrator,
) -> None:
    key = await join(site)
    assert (await enrol(site)).status_code == 202
    assert refusal_of(await register_as(site, "mac", key)) == (401, "BAD_KEY")


async def test_nobody_pushes_into_the_session_of_a_host_behind_ssh(site: Orchestrator) -> None:
    await enrol(site)
    local = {"endpoint": "http://127.0.0.1:9200"}
    reply = await register_as(site, "mac", site.pool_key, **local)
    assert refusal_of(reply) == (403, "SCOPE")


@pytest.mark.parametrize(
    "endpoint",
    [
        "ssh://-oProxyCommand=touch%20x",
        "ssh://-oProxyCommand=touch x",
        "ssh://me@-oProxyCommand=x",
        "ssh://mac\n",
        "ssh://mac\nHost evil",
        "ssh://me you@mac",
        "ssh://me@you@mac",
        "ssh://mäc",
        "ssh://mac\u2024local",
        "ssh://mac:0",
        "ssh://mac:99999",
        "ssh://mac:",
        "ssh://mac:22x",
        "ssh://me:secret@mac",
        "ssh://mac/path",
        "ssh://mac?x",
        "ssh://$(id)",
        "ssh://`id`",
        "ssh://'mac'",
        "ssh://",
        "ssh://[fe80::1%25eth0]",
        "mac",
        "me@mac",
        "SSH://mac",
        "http://mac",
        "",
        "ssh://" + "x" * 300,
    ],
)
async def test_a_hostile_address_is_refused_in_one_line(site: Orchestrator, endpoint: str) -> None:
    reply = await enrol(site, endpoint=endpoint)
    assert refusal_of(reply) == (400, "INVALID_REQUEST")
    assert await site.store.pools() == []


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["x"],
        ["ssh-ed25519"],
        ["ssh-ed25519 AAAA" + "A" * 60 + "\nevil ssh-rsa AAAA"],
        ["* " + HOST_KEY],
        [HOST_KEY + " comment"],
        ["@cert-authority " + HOST_KEY],
        [HOST_KEY.replace("ssh-ed25519", "ssh-rsa")],
        ["ssh-evil AAAA" + "A" * 60],
        [HOST_KEY] * 17,
        ["ssh-ed25519 " + "A" * 2100],
    ],
)
async def test_what_is_no_host_key_is_never_trusted(site: Orchestrator, keys: list[str]) -> None:
    reply = await enrol(site, host_keys=keys)
    assert refusal_of(reply) == (400, "INVALID_REQUEST")
    assert await site.store.pools() == []


@pytest.mark.parametrize("port", [0, -1, 65536, "x", None])
async def test_the_port_of_the_daemon_is_a_port(site: Orchestrator, port: object) -> None:
    assert refusal_of(await enrol(site, daemon_port=port)) == (400, "INVALID_REQUEST")


async def test_the_pool_of_this_machine_is_neither_enrolled_nor_removed(
    site: Orchestrator,
) -> None:
    assert refusal_of(await enrol(site, "home")) == (409, "CONFLICT")
    assert refusal_of(await site.client.delete("/v2/pools/home")) == (409, "CONFLICT")
    assert await names_of_pools(site) == ["home"]


async def test_a_pool_that_was_lost_can_be_taken_out_of_the_list(site: Orchestrator) -> None:
    await let_time_pass(site, 50)
    assert site.parts.loop.machine.pool_status(PoolId("home")) is PoolState.LOST
    assert (await site.client.delete("/v2/pools/home")).status_code == 200
    assert await names_of_pools(site) == []


async def test_the_orchestrators_own_ssh_key_is_made_once_and_shown_by_its_public_half(
    site: Orchestrator, tmp_path: Path
) -> None:
    first, second = [await site.client.get("/v2/ssh-key") for _ in range(2)]
    assert first.status_code == 200, first.text
    assert first.json() == second.json()
    kind, blob, *_ = first.json()["public_key"].split()
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(blob)).digest()).decode()
    assert kind == "ssh-ed25519"
    assert first.json()["fingerprint"] == f"SHA256:{digest.rstrip('=')}"
    path = tmp_path / "data" / "orchestrator" / "ssh_key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "PRIVATE" not in first.text


async def test_an_answer_in_flight_outlives_the_removal_of_its_pool(tmp_path: Path) -> None:
    async with FakeEngine.listening() as engine, running_orchestrator(tmp_path) as site:
        await site.register(ready_worker(engine.port))
        async with site.chat("Hello") as stream:
            call = await engine.next_call()
            await call.open()
            await call.say("Hel")
            first = json.loads((await stream.next()).data)
            # As the desk does it for a pool that an administrator removes.
            site.parts.pool_desk.forget(PoolId("home"))
            await until(
                lambda: site.parts.loop.machine.pool_status(PoolId("home")) is None,
                what="its removal",
            )
            await call.say("lo")
            await call.end()
            chunks = [first, *await chunks_of(stream)]
        assert chunks.pop() == "[DONE]"
        assert said(chunks) == "Hello"
        assert await names_of_pools(site) == []


async def test_a_pool_of_another_age_cannot_open_a_session(site: Orchestrator) -> None:
    local = {"endpoint": "http://127.0.0.1:9200"}
    reply = await register_as(site, "home", site.pool_key, version="0.3.0", **local)
    assert refusal_of(reply) == (409, "VERSION_SKEW")
    assert "0.3.0" in reply.json()["error"]["message"]
    for version in ("0.2.0", "0.0.9", "0.1.0.dev3"):
        reply = await register_as(site, "home", site.pool_key, version=version, **local)
        assert reply.status_code == 200, version
