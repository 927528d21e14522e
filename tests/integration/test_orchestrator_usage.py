"""What keys have used, over HTTP: each its own, operators all."""

import asyncio
from typing import Any

import httpx

from support.fake_engine import FakeEngine
from support.orchestrator import Orchestrator, chat_body


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def create(site: Orchestrator, name: str, **more: object) -> dict[str, Any]:
    reply = await site.client.post("/v2/keys", json={"name": name, **more})
    assert reply.status_code == 201, reply.text
    return reply.json()


async def get(site: Orchestrator, path: str, key: str) -> httpx.Response:
    return await site.client.get(path, headers=bearer(key))


async def test_usage_is_summed_up_for_its_owner_and_for_operators(
    site: Orchestrator, engine: FakeEngine
) -> None:
    keys = {name: await create(site, name) for name in ("mine", "yours")}
    boss = await create(site, "boss", scopes=["operator"])
    for name, made in keys.items():
        for _ in range(2 if name == "mine" else 1):
            asked = asyncio.create_task(
                site.client.post(
                    "/v1/chat/completions", json=chat_body(), headers=bearer(made["key"])
                )
            )
            await (await engine.next_call()).answer("Hel", "lo")
            assert (await asked).status_code == 200
    mine = (await get(site, "/v2/usage", keys["mine"]["key"])).json()["items"]
    assert [(row["key_id"], row["key_name"], row["jobs"]) for row in mine] == [
        (keys["mine"]["id"], "mine", 2)
    ]
    assert (mine[0]["completed"], mine[0]["completion_tokens"]) == (2, 4)
    for key in (boss["key"], site.key):
        rows = (await get(site, "/v2/usage", key)).json()["items"]
        assert {row["key_name"]: row["jobs"] for row in rows} == {"mine": 2, "yours": 1}
    path = f"/v2/usage?key={keys['yours']['id']}"
    assert len((await get(site, path, boss["key"])).json()["items"]) == 1
    other = await get(site, path, keys["mine"]["key"])
    nobody = await get(site, "/v2/usage?key=key_x", keys["mine"]["key"])
    assert (other.status_code, nobody.status_code) == (404, 404)
    own = await get(site, f"/v2/usage?key={keys['mine']['id']}", keys["mine"]["key"])
    assert own.json()["items"] == mine


async def test_usage_counts_from_the_moment_that_is_asked_for(
    site: Orchestrator, engine: FakeEngine
) -> None:
    asked = asyncio.create_task(site.ask())
    await (await engine.next_call()).answer("Hello")
    await asked
    site.clock.advance(7200)
    for since, count in (("1h", 0), ("3h", 1), ("1d", 1), ("2001-01-01T00:00:00Z", 1)):
        reply = await site.client.get("/v2/usage", params={"since": since})
        assert (len(reply.json()["items"]), reply.json()["since"] is not None) == (count, True)
    ahead = await site.client.get("/v2/usage", params={"since": "9999-12-31T23:59:59-12:00"})
    assert (ahead.status_code, ahead.json()["items"]) == (200, [])
    for wrong in ("1w", "yesterday", "-1h", "1", "h", "9" * 30 + "d"):
        reply = await site.client.get("/v2/usage", params={"since": wrong})
        assert reply.status_code == 400, wrong
        assert "24h" in reply.json()["error"]["message"]
