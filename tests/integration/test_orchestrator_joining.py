"""Hosts that join by a one-time token: who gets in, under which name, and how often."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from orchestratord.runtime import joining
from orchestratord.store.memory import MemoryStore
from orchestratord.store.memory_tables import MemoryTables
from support.certificates import AUTHORITY, KEY, SELF_SIGNED
from support.orchestrator import Orchestrator, running_orchestrator
from support.pool_words import (
    bearer,
    issue_token,
    join,
    join_body,
    refusal_of,
    register_as,
    show_token,
)


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """Every line that is logged meanwhile."""
    with capture_logs() as found:
        yield found


async def shown(site: Orchestrator, pool_id: str = "mac") -> dict[str, Any]:
    return (await site.client.get(f"/v2/pools/{pool_id}")).json()


async def test_a_host_joins_registers_and_is_shown_with_its_certificate(
    site: Orchestrator,
) -> None:
    key = await join(site)
    assert key.startswith("llo_pool_")
    before = await shown(site)
    assert (before["status"], before["last_seen_s"], before["road"]) == ("lost", None, "relay")
    assert (before["enrolled"], before["joined"], before["declared"]) == (True, True, False)
    assert len(before["certificate_sha256"]) == 64
    registered = await register_as(site, "mac", key)
    assert registered.status_code == 200, registered.text
    after = await shown(site)
    assert (after["status"], after["endpoint"]) == ("online", "https://10.0.0.7:9200")
    contact = site.parts.orders.contact("mac")
    assert contact is not None
    assert (contact.road, contact.certificate) == ("relay", SELF_SIGNED)


async def test_no_secret_of_a_join_is_shown_logged_or_printed(
    site: Orchestrator, lines: list[EventDict]
) -> None:
    token = await issue_token(site)
    reply = await show_token(site, join_body(token))
    assert reply.headers["cache-control"] == "no-store"
    key = reply.json()["key"]
    await register_as(site, "mac", key, control_key="canary-of-control")
    seen = repr(lines) + repr(await site.store.pools()) + repr(await site.store.join_tokens())
    paths = ("/v2/pools", "/v2/pools/mac", "/v2/keys", "/v2/workers", "/v2/usage", "/metrics")
    for path in (*paths, "/openapi.json", "/readyz", "/v2/ssh-key"):
        seen += (await site.client.get(path)).text
    # A refusal repeats nothing of what it refuses, whichever field is wrong.
    for wrong in ({"version": ""}, {"pool_id": "-"}, {"certificate": "x" * 20_000}, {"more": 1}):
        seen += (await show_token(site, {**join_body(token), **wrong})).text
    seen += (await show_token(site, {"token": {"in": token}})).text
    seen += repr(site.parts.orders.contact("mac")) + repr(site.parts.pool_desk.__dict__)
    for secret in (token, key, "canary-of-control"):
        assert secret not in seen
    made = {line["event"] for line in lines}
    assert {"join_token.created", "pool.joined", "pool.registered"} <= made


async def test_a_token_lets_one_host_in_once(site: Orchestrator) -> None:
    token = await issue_token(site)
    assert (await show_token(site, join_body(token))).status_code == 200
    again = await show_token(site, join_body(token))
    assert refusal_of(again) == (403, "BAD_TOKEN")
    assert "used already" in again.json()["error"]["message"]
    assert "new one" in again.json()["error"]["message"]


async def test_of_many_hosts_with_one_token_at_once_one_gets_in(site: Orchestrator) -> None:
    token = await issue_token(site)
    replies = await asyncio.gather(*(show_token(site, join_body(token)) for _ in range(8)))
    assert sorted(reply.status_code for reply in replies) == [200] + [403] * 7
    [key] = [row for row in await site.store.keys() if row.pool_id == "mac"]
    assert key.revoked_at_ms is None


async def test_a_token_runs_out(site: Orchestrator) -> None:
    token = await issue_token(site, expires_in_s=60)
    site.clock.advance(60)
    reply = await show_token(site, join_body(token))
    assert refusal_of(reply) == (403, "BAD_TOKEN")
    assert "run out" in reply.json()["error"]["message"]


async def test_open_tokens_are_bounded_and_those_that_were_used_or_ran_out_make_room(
    site: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "_TOKENS_MAX", 2)
    first = await issue_token(site, "mac")
    await issue_token(site, "box", expires_in_s=60)
    third = {"pool_id": "attic"}
    assert refusal_of(await site.client.post("/v2/pools/join-tokens", json=third)) == (
        409,
        "CONFLICT",
    )
    # A new one for a name that has one takes no more room.
    first = await issue_token(site, "mac")
    assert (await show_token(site, join_body(first))).status_code == 200
    await issue_token(site, "attic")
    site.clock.advance(61)
    await issue_token(site, "shed")
    # What ran out lies in no store and no memory any more.
    assert [row.pool_id for row in await site.store.join_tokens()] == ["attic", "mac", "shed"]


async def test_a_clock_that_goes_back_opens_no_token_twice(
    site: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await issue_token(site, expires_in_s=60)
    assert (await show_token(site, join_body(token))).status_code == 200
    monkeypatch.setattr(site.clock, "unix_ms", lambda: 1)
    assert refusal_of(await show_token(site, join_body(token))) == (403, "BAD_TOKEN")


async def test_guesses_from_many_addresses_cost_each_of_them_its_own_patience(
    site: Orchestrator,
) -> None:
    token = await issue_token(site)
    guess = join_body("llo_join_" + "x" * 43)

    async def from_address(address: str, body: dict[str, Any]) -> int:
        way = httpx.ASGITransport(app=site.parts.app, client=(address, 50_000))
        async with httpx.AsyncClient(base_url=site.url, transport=way) as stranger:
            return (await stranger.post("/v2/pools/join", json=body)).status_code

    # A household of the newer protocol is one caller.
    for number in range(20):
        assert await from_address(f"fd00::{number + 1:x}", guess) == 403
    assert await from_address("fd00::ffff", guess) == 429
    assert await from_address("fd00:0:0:1::1", guess) == 403
    assert await from_address("fd00::1", join_body(token)) == 200


async def test_a_newer_token_for_a_name_ends_the_older(site: Orchestrator) -> None:
    older, newer = await issue_token(site), await issue_token(site)
    assert refusal_of(await show_token(site, join_body(older))) == (403, "BAD_TOKEN")
    assert (await show_token(site, join_body(newer))).status_code == 200


async def test_a_token_is_for_one_name_and_a_wrong_name_does_not_use_it_up(
    site: Orchestrator,
) -> None:
    token = await issue_token(site)
    wrong = await show_token(site, join_body(token, "box"))
    assert refusal_of(wrong) == (403, "BAD_TOKEN")
    assert (await show_token(site, join_body(token))).status_code == 200


async def test_a_host_that_joins_anew_loses_its_older_key(site: Orchestrator) -> None:
    first = await join(site)
    second = await join(site)
    assert refusal_of(await register_as(site, "mac", first)) == (401, "BAD_KEY")
    assert (await register_as(site, "mac", second)).status_code == 200


async def test_whoever_guesses_tokens_has_to_wait(tmp_path: Path) -> None:
    async with running_orchestrator(tmp_path, wrong_keys_per_minute=3) as site:
        token = await issue_token(site)
        guesses = [join_body(f"llo_join_{number:040d}") for number in range(4)]
        replies = [await show_token(site, guess) for guess in guesses]
        assert [reply.status_code for reply in replies] == [403, 403, 403, 429]
        assert int(replies[-1].headers["retry-after"]) > 0
        assert await site.metric('orchd_auth_failures_total{reason="token"}') == 4
        # Nobody is locked out by the guesses of others.
        assert (await show_token(site, join_body(token))).status_code == 200


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://10.0.0.7:9200",
        "http://127.0.0.1:9200",
        "https://10.0.0.7",
        "https://10.0.0.7:0",
        "https://10.0.0.7:99999",
        "https://user@10.0.0.7:9200",
        "https://10.0.0.7:9200/x",
        "https://10.0.0.7:9200?x",
        "https://-oProxyCommand=x:9200",
        "https://a b:9200",
        "https://[::1%25eth0]:9200",
        "https://[::1:9200",
        "ssh://mac",
        "file:///etc/passwd",
        "https://mäc:9200",
        "x" * 301,
    ],
)
async def test_a_host_that_joins_is_behind_https_and_nothing_else(
    site: Orchestrator, endpoint: str
) -> None:
    token = await issue_token(site)
    reply = await show_token(site, join_body(token, endpoint=endpoint))
    assert refusal_of(reply) == (400, "INVALID_REQUEST")
    assert (await show_token(site, join_body(token))).status_code == 200


@pytest.mark.parametrize(
    "certificate",
    [
        None,
        "x",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
        SELF_SIGNED + AUTHORITY,
        SELF_SIGNED + KEY,
        KEY,
        "x" * 16_385,
        SELF_SIGNED.replace("MIIB", "MIIC"),
    ],
)
async def test_what_is_no_certificate_is_never_pinned(
    site: Orchestrator, certificate: str | None
) -> None:
    token = await issue_token(site)
    reply = await show_token(site, join_body(token, certificate=certificate))
    assert refusal_of(reply) == (400, "INVALID_REQUEST")
    assert await site.store.pools() == []


async def test_a_body_that_is_too_large_is_refused_before_it_is_read(site: Orchestrator) -> None:
    reply = await show_token(site, join_body("x" * 70_000))
    assert refusal_of(reply) == (413, "TOO_LARGE")


@pytest.mark.parametrize("version", ["0.3.0", "1.1.0", "2", "", "x" * 65, "nonsense"])
async def test_a_host_of_another_age_is_refused_by_name(site: Orchestrator, version: str) -> None:
    token = await issue_token(site)
    status, code = refusal_of(await show_token(site, join_body(token, version=version)))
    assert (status, code) in {(409, "VERSION_SKEW"), (400, "INVALID_REQUEST")}
    assert (await show_token(site, join_body(token, version="0.2.9"))).status_code == 200


async def test_a_pool_key_speaks_for_its_own_pool_only(site: Orchestrator) -> None:
    mac, box = await join(site), await join(site, "box")
    reply = await register_as(site, "box", mac)
    assert refusal_of(reply) == (403, "SCOPE")
    assert "cannot speak for box" in reply.json()["error"]["message"]
    assert (await register_as(site, "box", box)).status_code == 200
    session = site.parts.loop.machine.session_of("box")
    beat = site.beat_body(pool_id="box", session_id=session, seq=1)
    assert refusal_of(await site.as_pool("/v2/pools/box/heartbeat", beat, mac)) == (403, "SCOPE")
    assert (await site.as_pool("/v2/pools/box/heartbeat", beat, box)).status_code == 200
    # Neither may it take the name of a pool that nobody has enrolled.
    assert refusal_of(await register_as(site, "attic", mac)) == (403, "SCOPE")


async def test_the_key_of_this_machine_cannot_take_the_name_of_an_enrolled_host(
    site: Orchestrator,
) -> None:
    await join(site)
    local = {"endpoint": "http://127.0.0.1:9200"}
    assert refusal_of(await register_as(site, "mac", site.pool_key, **local)) == (403, "SCOPE")
    assert (await register_as(site, "home", site.pool_key, **local)).status_code == 200


async def test_a_pool_that_never_joined_is_told_to(site: Orchestrator) -> None:
    reply = await register_as(site, "home", site.pool_key)
    assert refusal_of(reply) == (400, "INVALID_REQUEST")
    assert "join it first" in reply.json()["error"]["message"]


async def test_a_joined_pool_cannot_send_us_to_our_own_loopback(site: Orchestrator) -> None:
    key = await join(site)
    reply = await register_as(site, "mac", key, endpoint="http://127.0.0.1:8080")
    assert refusal_of(reply) == (400, "INVALID_REQUEST")


async def test_no_token_is_made_for_a_name_that_is_in_use(site: Orchestrator) -> None:
    reply = await site.client.post("/v2/pools/join-tokens", json={"pool_id": "home"})
    assert refusal_of(reply) == (409, "CONFLICT")
    for name in ("register", "join", "join-tokens"):
        reply = await site.client.post("/v2/pools/join-tokens", json={"pool_id": name})
        assert refusal_of(reply) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("name", ["", "-x", "a b", "a/b", "a\nb", "mäc", "x" * 65, "..", None, 7])
async def test_a_name_is_plain(site: Orchestrator, name: object) -> None:
    reply = await site.client.post("/v2/pools/join-tokens", json={"pool_id": name})
    assert refusal_of(reply) == (400, "INVALID_REQUEST")


async def test_a_removed_pool_is_out_at_once_and_its_workers_are_gone(
    site: Orchestrator, lines: list[EventDict]
) -> None:
    key = await join(site)
    await register_as(site, "mac", key)
    reply = await site.client.delete("/v2/pools/mac")
    assert (reply.status_code, reply.json()) == (200, {"status": "removed", "reasons": []})
    assert refusal_of(await register_as(site, "mac", key)) == (401, "BAD_KEY")
    listed = (await site.client.get("/v2/pools")).json()["items"]
    assert [pool["pool_id"] for pool in listed] == ["home"]
    assert refusal_of(await site.client.get("/v2/pools/mac")) == (404, "POOL_NOT_FOUND")
    assert refusal_of(await site.client.delete("/v2/pools/mac")) == (404, "POOL_NOT_FOUND")
    assert "pool.removed" in {line["event"] for line in lines}
    # The name is free again, for a host that nobody has enrolled too.
    local = {"endpoint": "http://127.0.0.1:9200"}
    assert (await register_as(site, "mac", site.pool_key, **local)).status_code == 200


async def test_the_token_of_a_removed_pool_is_gone_with_it(site: Orchestrator) -> None:
    await join(site)
    token = await issue_token(site)
    await site.client.delete("/v2/pools/mac")
    assert refusal_of(await show_token(site, join_body(token))) == (403, "BAD_TOKEN")


async def test_a_revoked_pool_key_opens_nothing_though_the_pool_is_enrolled(
    site: Orchestrator,
) -> None:
    key = await join(site)
    [row] = [row for row in await site.store.keys() if row.pool_id == "mac"]
    assert (await site.client.delete(f"/v2/keys/{row.id}")).status_code == 200
    assert refusal_of(await register_as(site, "mac", key)) == (401, "BAD_KEY")
    again = await join(site)
    assert (await register_as(site, "mac", again)).status_code == 200


async def test_what_was_joined_and_issued_outlives_a_restart(tmp_path: Path) -> None:
    tables = MemoryTables()
    async with running_orchestrator(tmp_path, store=MemoryStore(tables)) as site:
        key, token = await join(site), await issue_token(site, "box")
        used = await issue_token(site, "attic")
        assert (await show_token(site, join_body(used, "attic"))).status_code == 200
    async with running_orchestrator(tmp_path, store=MemoryStore(tables)) as site:
        assert (await register_as(site, "mac", key)).status_code == 200
        assert (await show_token(site, join_body(token, "box"))).status_code == 200
        assert refusal_of(await show_token(site, join_body(used, "attic"))) == (403, "BAD_TOKEN")
        listed = (await site.client.get("/v2/pools")).json()["items"]
        assert [pool["pool_id"] for pool in listed] == ["attic", "box", "mac"]


async def test_a_key_of_people_for_pools_belongs_to_no_host(site: Orchestrator) -> None:
    key = await site.make_key("pool")
    await join(site)
    assert refusal_of(await register_as(site, "mac", key)) == (403, "SCOPE")
    reply = await site.client.get("/v2/pools/mac", headers=bearer(key))
    assert refusal_of(reply) == (403, "SCOPE")
