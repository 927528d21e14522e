"""Keys over HTTP: made, used within their limits, revoked with effect on what is open."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from orchestratord.store.memory import MemoryStore
from orchestratord.store.memory_tables import MemoryTables
from support.fake_engine import FakeEngine
from support.orchestrator import Orchestrator, chat_body, running_orchestrator
from support.waiting import until

TASK = {"model": "tiny-chat", "prompt": "Hello"}


@pytest.fixture
def lines() -> Iterator[list[EventDict]]:
    """Every line that is logged meanwhile."""
    with capture_logs() as found:
        yield found


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


async def create(site: Orchestrator, name: str = "guest", **more: object) -> dict[str, Any]:
    reply = await site.client.post("/v2/keys", json={"name": name, **more})
    assert reply.status_code == 201, reply.text
    return reply.json()


async def listed(site: Orchestrator) -> dict[str, dict[str, Any]]:
    reply = await site.client.get("/v2/keys")
    return {item["id"]: item for item in reply.json()["items"]}


async def revoke(site: Orchestrator, key_id: str) -> httpx.Response:
    return await site.client.delete(f"/v2/keys/{key_id}")


async def get(site: Orchestrator, path: str, key: str) -> httpx.Response:
    return await site.client.get(path, headers=bearer(key))


async def own_id(site: Orchestrator, name: str) -> str:
    return next(key_id for key_id, item in (await listed(site)).items() if item["name"] == name)


async def test_a_key_is_shown_once_and_opens_its_routes_at_once(
    site: Orchestrator, lines: list[EventDict]
) -> None:
    reply = await site.client.post("/v2/keys", json={"name": "my laptop"})
    made = reply.json()
    assert (reply.status_code, reply.headers["cache-control"]) == (201, "no-store")
    assert made["key"].startswith("llo_user_")
    assert (made["scopes"], made["name"], made["models"]) == (["user"], "my laptop", None)
    assert (await get(site, "/v2/tasks", made["key"])).status_code == 200
    assert (await get(site, "/v2/keys", made["key"])).status_code == 403
    shown = (await listed(site))[made["id"]]
    assert "key" not in shown
    assert made["key"] not in repr(lines) + repr(site.keys.rows())
    (line,) = [line for line in lines if line["event"] == "key.created"]
    admin = await own_id(site, "admin")
    assert (line["key_id"], line["name"], line["by"]) == (made["id"], "my laptop", admin)


async def test_one_key_may_have_several_scopes_and_one_name_several_keys(
    site: Orchestrator,
) -> None:
    first = await create(site, scopes=["metrics", "user", "user"])
    second = await create(site, scopes=["pool"])
    assert first["id"] != second["id"]
    assert first["key"].startswith("llo_user_")
    assert first["scopes"] == ["user", "metrics"]
    for path, status in (("/v2/tasks", 200), ("/metrics", 200), ("/v2/pools", 403)):
        assert (await get(site, path, first["key"])).status_code == status
    for path in ("/v2/tasks", "/metrics", "/v2/pools", "/v2/keys", "/v1/models", "/openapi.json"):
        assert (await get(site, path, second["key"])).status_code == 403
    assert (await site.as_pool("/v2/pools/register", {}, key=second["key"])).status_code == 400


@pytest.mark.parametrize(
    ("order", "word"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "\u009b31m"}, "cannot be shown"),
        ({"name": "a\u2028b"}, "cannot be shown"),
        ({"name": "\u202egnp.exe"}, "cannot be shown"),
        ({"name": "x" * 65}, "name"),
        ({"name": "a", "scopes": []}, "scopes"),
        ({"name": "a", "scopes": ["root"]}, "scopes"),
        ({"name": "a", "models": []}, "models"),
        ({"name": "a", "weight": 0}, "weight"),
        ({"name": "a", "requests_per_minute": 0}, "requests_per_minute"),
        ({"name": "a", "expires_in_s": 0}, "expires_in_s"),
        ({"name": "a", "expires_in_s": 10**12}, "expires_in_s"),
        ({"name": "a", "key": "llo_user_mine"}, "key"),
        ({"name": "a", "id": "key_1"}, "id"),
    ],
)
async def test_a_key_that_cannot_be_is_refused_by_its_field(
    site: Orchestrator, order: dict[str, object], word: str
) -> None:
    reply = await site.client.post("/v2/keys", json=order)
    assert reply.status_code == 400
    assert word in reply.json()["error"]["message"]


async def test_a_list_of_models_is_kept_by_their_ids_and_a_slip_is_named(
    site: Orchestrator,
) -> None:
    made = await create(site, models=["tiny-chat", "tiny-chat"])
    assert made["models"] == ["tiny-chat"]
    slip = await site.client.post("/v2/keys", json={"name": "a", "models": ["tiny-chap"]})
    assert (slip.status_code, slip.json()["error"]["code"]) == (404, "MODEL_NOT_FOUND")
    assert "tiny-chat" in slip.json()["error"]["message"]


async def test_revoking_counts_at_once_and_may_be_repeated(
    site: Orchestrator, lines: list[EventDict]
) -> None:
    made = await create(site)
    assert (await get(site, "/v2/tasks", made["key"])).status_code == 200
    first = await revoke(site, made["id"])
    assert first.status_code == 200
    assert first.json()["revoked_at"] is not None
    refused = await get(site, "/v2/tasks", made["key"])
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "BAD_KEY")
    assert "revoked" in refused.json()["error"]["message"]
    site.clock.advance(60)
    assert (await revoke(site, made["id"])).json() == first.json()
    assert (await listed(site))[made["id"]] == first.json()
    assert [line["key_id"] for line in lines if line["event"] == "key.revoked"] == [made["id"]]
    stored = {row.id: row.revoked_at_ms for row in await site.store.keys()}
    assert stored[made["id"]] is not None


@pytest.mark.parametrize("key_id", ["key_x", "x", "key_" + "0" * 26, "%00", "key_' OR 1=1"])
async def test_a_key_that_nobody_made_is_not_found(site: Orchestrator, key_id: str) -> None:
    reply = await revoke(site, key_id)
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "KEY_NOT_FOUND")


async def test_the_last_admin_key_that_lasts_stays(site: Orchestrator) -> None:
    admin = await own_id(site, "admin")
    await create(site, scopes=["admin"], expires_in_s=3600)
    refused = await revoke(site, admin)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "CONFLICT")
    assert "`llorch keys reset-admin`" in refused.json()["error"]["message"]
    other = await create(site, scopes=["admin"])
    gone = await revoke(site, admin)
    assert gone.status_code == 200
    assert "admin.key" in gone.json()["note"]
    assert "written anew at the next start" in gone.json()["note"]
    site.client.headers.update(bearer(other["key"]))
    assert (await revoke(site, other["id"])).status_code == 409


async def test_two_admins_who_revoke_each_other_at_once_do_not_both_succeed(
    site: Orchestrator,
) -> None:
    other = await create(site, scopes=["admin"])
    admin = await own_id(site, "admin")
    replies = await asyncio.gather(
        site.client.delete(f"/v2/keys/{admin}", headers=bearer(other["key"])),
        site.client.delete(f"/v2/keys/{other['id']}", headers=bearer(site.key)),
    )
    assert sorted(reply.status_code for reply in replies) == [200, 409]


async def test_the_key_of_this_machines_pool_goes_with_a_word_on_its_file(
    site: Orchestrator,
) -> None:
    pool = await own_id(site, "local pool")
    gone = await revoke(site, pool)
    assert "local-pool.key" in gone.json()["note"]
    assert (await site.as_pool("/v2/pools/register", {})).status_code == 401


async def test_a_key_expires_while_the_daemon_runs(site: Orchestrator) -> None:
    made = await create(site, expires_in_s=60)
    site.clock.advance(59.9)
    assert (await get(site, "/v2/tasks", made["key"])).status_code == 200
    site.clock.advance(0.2)
    refused = await get(site, "/v2/tasks", made["key"])
    assert refused.status_code == 401
    assert "expired" in refused.json()["error"]["message"]
    assert (await listed(site))[made["id"]]["expires_at"] is not None


async def test_the_last_use_is_shown_at_once_and_stored_once_a_minute(site: Orchestrator) -> None:
    made = await create(site)
    assert (await listed(site))[made["id"]]["last_used_at"] is None
    await get(site, "/v2/tasks", made["key"])
    assert (await listed(site))[made["id"]]["last_used_at"] is not None

    async def stored() -> int | None:
        return next(row.last_used_at_ms for row in await site.store.keys() if row.id == made["id"])

    site.sweep(59)
    assert await stored() is None
    site.sweep(1)
    await until(stored, what="the stored time")
    first = await stored()
    await get(site, "/v2/tasks", made["key"])
    site.sweep(59)
    assert await stored() == first


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_an_open_chat_ends_within_a_second_of_its_key(
    site: Orchestrator, engine: FakeEngine, how: str
) -> None:
    made = await create(site, expires_in_s=5)
    body = chat_body(stream=True)
    path = "/v1/chat/completions"
    async with site.client.stream("POST", path, json=body, headers=bearer(made["key"])) as reply:
        call = await engine.next_call()
        await call.open()
        await call.say("Hel")
        pieces = reply.aiter_raw()
        assert b"Hel" in await anext(pieces)
        await end_key(site, made["id"], how)
        site.sweep(1)
        rest = b"".join([piece async for piece in pieces])
    assert b'"error"' in rest
    assert b"[DONE]" not in rest
    await call.gone()


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_an_open_event_stream_ends_within_two_seconds_of_its_key_and_the_job_goes_on(
    site: Orchestrator, engine: FakeEngine, how: str
) -> None:
    made = await create(site, expires_in_s=5)
    task = await site.client.post("/v2/tasks", json=TASK, headers=bearer(made["key"]))
    job_id = task.json()["job_id"]
    path = f"/v2/tasks/{job_id}/events"
    async with site.client.stream("GET", path, headers=bearer(made["key"])) as reply:
        call = await engine.next_call()
        await call.open()
        pieces = reply.aiter_raw()
        assert b"queued" in await anext(pieces)
        await end_key(site, made["id"], how)
        site.sweep(1)
        rest = b"".join([piece async for piece in pieces])
    assert b"event: end" not in rest
    await call.say("Hel", "lo")
    await call.end()
    assert (await site.ended(job_id))["status"] == "completed"


async def end_key(site: Orchestrator, key_id: str, how: str) -> None:
    if how == "revoked":
        assert (await revoke(site, key_id)).status_code == 200
    else:
        site.clock.advance(5)


async def test_more_requests_than_a_key_may_send_get_a_time_to_come_back(
    site: Orchestrator,
) -> None:
    made = await create(site, requests_per_minute=2)
    for status in (202, 202, 429):
        reply = await site.client.post("/v2/tasks", json=TASK, headers=bearer(made["key"]))
        assert reply.status_code == status, reply.text
    assert (reply.json()["error"]["code"], reply.headers["retry-after"]) == ("RATE", "30")
    site.clock.advance(30)
    again = await site.client.post("/v2/tasks", json=TASK, headers=bearer(made["key"]))
    assert again.status_code == 202
    assert (await site.client.post("/v2/tasks", json=TASK)).status_code == 202


async def test_more_jobs_at_one_time_than_a_key_may_have_are_refused(
    site: Orchestrator, engine: FakeEngine
) -> None:
    made = await create(site, concurrent_jobs=1)
    headers = bearer(made["key"])
    first = await site.client.post("/v2/tasks", json=TASK, headers=headers)
    refused = await site.client.post("/v2/tasks", json=TASK, headers=headers)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "QUOTA")
    chat = await site.client.post("/v1/chat/completions", json=chat_body(), headers=headers)
    assert chat.status_code == 429
    call = await engine.next_call()
    await call.answer("Hello")
    await site.ended(first.json()["job_id"])
    again = await site.client.post("/v2/tasks", json=TASK, headers=headers)
    assert again.status_code == 202


async def test_a_key_sees_only_its_models_and_the_others_do_not_exist(
    site: Orchestrator,
) -> None:
    all_models = [card["id"] for card in (await site.client.get("/v1/models")).json()["data"]]
    assert len(all_models) > 1
    made = await create(site, models=["tiny-chat"])
    headers = bearer(made["key"])
    cards = (await site.client.get("/v1/models", headers=headers)).json()["data"]
    assert [card["id"] for card in cards] == ["tiny-chat"]
    assert (await get(site, "/v1/models/tiny-chat", made["key"])).status_code == 200
    forbidden = next(name for name in all_models if name != "tiny-chat")
    answers: list[list[str]] = []
    for name in (forbidden, "x" * len(forbidden)):
        shown = await get(site, f"/v1/models/{name}", made["key"])
        chat = await site.client.post(
            "/v1/chat/completions", json=chat_body(model=name), headers=headers
        )
        task = await site.client.post("/v2/tasks", json={**TASK, "model": name}, headers=headers)
        assert [shown.status_code, chat.status_code, task.status_code] == [404, 404, 404]
        answers.append([error(reply).replace(name, "NAME") for reply in (shown, chat, task)])
    assert answers[0] == answers[1]


def error(reply: httpx.Response) -> str:
    found = dict(reply.json()["error"])
    found.pop("correlation_id", None)
    return repr(found)


async def test_whoever_guesses_keys_has_to_wait_and_a_right_key_does_not(
    tmp_path: Path, lines: list[EventDict]
) -> None:
    async with running_orchestrator(tmp_path) as site:
        for number in range(20):
            assert (await get(site, "/v2/tasks", f"llo_user_{number}")).status_code == 401
        slowed = await get(site, "/v2/tasks", "llo_user_x")
        assert (slowed.status_code, slowed.json()["error"]["code"]) == (429, "RATE")
        assert slowed.headers["retry-after"] == "3"
        assert (await get(site, "/v2/tasks", site.key)).status_code == 200
        written = [line for line in lines if line["event"] == "auth.failed"]
        assert len(written) == 20
        assert {(line["reason"], line["address"]) for line in written} == {("unknown", "127.0.0.1")}
        site.clock.advance(3)
        assert (await get(site, "/v2/tasks", "llo_user_y")).status_code == 401
        assert "llo_user" not in repr(lines)
        assert await site.metric('orchd_auth_failures_total{reason="unknown"}') == 22


async def test_keys_outlive_a_restart_with_all_that_they_allow(tmp_path: Path) -> None:
    tables = MemoryTables()
    async with running_orchestrator(tmp_path, store=MemoryStore(tables)) as site:
        made = await create(
            site, "kept", models=["tiny-chat"], weight=5, requests_per_minute=7, priority="batch"
        )
        gone = await create(site, "gone")
        await revoke(site, gone["id"])
        await get(site, "/v2/tasks", made["key"])
        before = await listed(site)
    async with running_orchestrator(tmp_path, store=MemoryStore(tables)) as site:
        after = await listed(site)
        for key_id in (made["id"], gone["id"]):
            assert after[key_id] == before[key_id]
        assert (await get(site, "/v2/tasks", made["key"])).status_code == 200
        assert (await get(site, "/v2/tasks", gone["key"])).status_code == 401
