"""Who may call what: every row of the table, every method, every kind of key, and others' ids."""

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from orchestrator_core.testing.clocks import FakeClock
from orchestratord.api.gatekeeper import Gatekeeper
from orchestratord.app.http import build_app
from orchestratord.routes import ROUTES, Manner, Route, Scope
from orchestratord.runtime.keys.denials import Denials
from orchestratord.runtime.keys.keyring import KeyRing
from support.fake_engine import FakeEngine
from support.orchestrator import (
    Orchestrator,
    chat_body,
    ready_worker,
    running_orchestrator,
)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# Which keys open which scope; the product's own table stays out of it.
OPENS: dict[Scope, set[str]] = {
    Scope.OPEN: {
        "none", "bad", "expired", "revoked", "user", "other user", "operator", "pool", "metrics",
        "admin",
    },
    Scope.USER: {"user", "other user", "operator", "admin"},
    Scope.OPERATOR: {"operator", "admin"},
    Scope.ADMIN: {"admin"},
    Scope.POOL: {"pool"},
    Scope.METRICS: {"metrics", "operator", "admin"},
}  # fmt: skip
NO_HOLDER = ("none", "bad", "expired", "revoked")
ROLES = tuple(sorted(OPENS[Scope.OPEN]))
STREAMING = "/v2/tasks/{id}/events"


@dataclass
class House:
    """One orchestrator with a key of each kind and things that belong to somebody."""

    site: Orchestrator
    keys: dict[str, str | None] = field(default_factory=dict[str, str | None])
    ids: dict[str, str] = field(default_factory=dict[str, str])

    async def ask(self, role: str, method: str, path: str) -> httpx.Response:
        """Ask with this key, or with none."""
        key = self.keys[role]
        self.site.client.headers.pop("authorization", None)
        # Guesses refill with time, so that the hundreds of wrong keys here are judged one by one.
        self.site.clock.advance(60)
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return await self.site.client.request(method, path, headers=headers)


@contextlib.asynccontextmanager
async def house_in(folder: Path) -> AsyncGenerator[House]:
    async with FakeEngine.listening() as engine, running_orchestrator(folder) as site:
        await site.register(ready_worker(engine.port))
        house = House(site)
        now_ms = site.clock.unix_ms()
        for role in ("user", "other user", "operator", "metrics"):
            house.keys[role] = await site.make_key(role.removeprefix("other "))
        house.keys |= {"none": None, "bad": "llo_user_bad", "admin": site.key}
        house.keys["pool"] = await site.make_key("pool")
        house.keys["expired"] = await site.make_key("admin", "user", expires_at_ms=now_ms)
        house.keys["revoked"] = await site.make_key("admin", "user", revoked_at_ms=now_ms)
        yield house
        assert site.failures == []


@pytest.fixture
async def house(tmp_path: Path) -> AsyncGenerator[House]:
    async with house_in(tmp_path) as house:
        yield house


def methods_of(path: str) -> set[str]:
    declared = {row.method for row in ROUTES if row.path == path}
    return declared | ({"HEAD"} if "GET" in declared else set())


def row_for(path: str, method: str) -> Route:
    wanted = "GET" if method == "HEAD" else method
    return next(row for row in ROUTES if (row.path, row.method) == (path, wanted))


def filled(path: str) -> str:
    """A path with an id of the right form that nobody has."""
    kinds = {"tasks": "job", "workers": "wrk", "keys": "key", "pools": "", "models": ""}
    noun = path.split("/")[2] if path.count("/") > 1 else ""
    kind = kinds.get(noun, "")
    return path.replace("{id}", f"{kind}_{'0' * 26}" if kind else "nowhere")


@pytest.mark.parametrize("path", sorted({row.path for row in ROUTES}))
async def test_every_method_of_a_path_answers_each_key_as_its_scope_says(
    house: House, path: str
) -> None:
    for method in METHODS:
        for role in ROLES:
            reply = await house.ask(role, method, filled(path))
            status = reply.status_code
            place = f"{role}: {method} {path} -> {status} {reply.text[:200]}"
            if method not in methods_of(path):
                assert status == 405, place
                assert set(reply.headers["allow"].split(", ")) == methods_of(path) - {"HEAD"}
                continue
            scope = row_for(path, method).scope
            if role in OPENS[scope]:
                assert status not in (401, 403, 405, 429), place
                assert status < 500, place
            elif role in NO_HOLDER:
                assert status == 401, place
            else:
                assert status == 403, place
            # A refused caller learns nothing but the refusal.
            assert status < 400 or method == "HEAD" or "error" in reply.json(), place


async def test_nobody_changed_anything_that_was_not_theirs(house: House) -> None:
    before = {row.id: row.revoked_at_ms for row in await house.site.store.keys()}
    victim = next(iter(before))
    for role in ROLES:
        if role != "admin":
            reply = await house.ask(role, "DELETE", f"/v2/keys/{victim}")
            assert reply.status_code in (401, 403)
            assert (await house.ask(role, "POST", "/v2/keys")).status_code in (401, 403)
    assert {row.id: row.revoked_at_ms for row in await house.site.store.keys()} == before


def told(reply: httpx.Response, name: str) -> tuple[int, dict[str, str], bytes]:
    """An answer without the id that was asked for and the mark of the request."""
    mark = reply.headers["x-correlation-id"]
    body = reply.content.replace(name.encode(), b"ID").replace(mark.encode(), b"MARK")
    skipped = {"x-correlation-id", "x-request-id"}
    head = {key: value for key, value in reply.headers.items() if key not in skipped}
    return reply.status_code, head, body


@pytest.mark.parametrize("kind", ["durable", "ended", "call"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        (method, row.path)
        for row in ROUTES
        if row.path.startswith("/v2/tasks/{id}")
        for method in (("GET", "HEAD") if row.method == "GET" else (row.method,))
    ],
)
async def test_a_job_of_somebody_else_is_a_job_that_does_not_exist(
    house: House, method: str, path: str, kind: str
) -> None:
    site, owner = house.site, house.keys["user"]
    headers = {"authorization": f"Bearer {owner}"}
    async with contextlib.AsyncExitStack() as stack:
        if kind == "call":
            body = chat_body(stream=True)
            opened = await stack.enter_async_context(
                site.client.stream("POST", "/v1/chat/completions", json=body, headers=headers)
            )
            job_id = opened.headers["x-job-id"]
        else:
            task = {"model": "tiny-chat", "prompt": "Hello"}
            reply = await site.client.post("/v2/tasks", json=task, headers=headers)
            job_id = reply.json()["job_id"]
            if kind == "ended":
                await house.ask("user", "DELETE", f"/v2/tasks/{job_id}")
        status = (await house.ask("user", "GET", f"/v2/tasks/{job_id}")).json()["status"]
        nobody = site.ids.job()
        real = await house.ask("other user", method, path.replace("{id}", job_id))
        none = await house.ask("other user", method, path.replace("{id}", nobody))
        assert real.status_code == 404
        assert told(real, job_id) == told(none, nobody)
        again = (await house.ask("user", "GET", f"/v2/tasks/{job_id}")).json()
        assert (again["status"], again["id"]) == (status, job_id)


async def test_lists_show_a_user_their_own_and_nothing_else(house: House) -> None:
    site = house.site
    headers = {"authorization": f"Bearer {house.keys['user']}"}
    task = {"model": "tiny-chat", "prompt": "Hello"}
    reply = await site.client.post("/v2/tasks", json=task, headers=headers)
    job_id = reply.json()["job_id"]
    for role, sees in (("user", True), ("other user", False), ("operator", True), ("admin", True)):
        listed = (await house.ask(role, "GET", "/v2/tasks")).json()["items"]
        assert [item["id"] for item in listed] == ([job_id] if sees else [])
        cursor = await house.ask(role, "GET", f"/v2/tasks?cursor={job_id}")
        assert cursor.json()["items"] == []
        await house.ask("user", "DELETE", f"/v2/tasks/{job_id}")
        usage = (await house.ask(role, "GET", "/v2/usage")).json()["items"]
        assert bool(usage) is sees


@pytest.mark.parametrize(
    ("role", "method", "path"),
    [
        ("operator", "POST", "/v2/workers/{id}/stop"),
        ("admin", "DELETE", "/v2/keys/{id}"),
        ("user", "GET", "/v1/models/{id}"),
    ],
)
async def test_an_id_of_the_wrong_kind_is_like_one_that_nobody_has(
    house: House, role: str, method: str, path: str
) -> None:
    kinds = {"workers": "wrk", "keys": "key", "models": "hf"}
    unknown = f"{kinds[path.split('/')[2]]}_{'0' * 26}"
    expected = await house.ask(role, method, path.replace("{id}", unknown))
    assert expected.status_code == 404
    for wrong in (house.site.ids.job(), house.site.ids.session(), "x"):
        reply = await house.ask(role, method, path.replace("{id}", wrong))
        assert reply.status_code == 404
        assert reply.json()["error"]["code"] == expected.json()["error"]["code"]


async def test_a_pools_session_is_not_taken_over_by_a_key_of_people(house: House) -> None:
    pool = "/v2/pools/home/heartbeat"
    for role in ROLES:
        reply = await house.ask(role, "POST", pool)
        assert reply.status_code == (400 if role == "pool" else 401 if role in NO_HOLDER else 403)


async def nothing() -> None:
    """A handler that is never called."""


def start(*, more: str | None = None, without: str | None = None) -> None:
    """Build the application as a start does, with one handler too many or too few."""
    handlers: dict[Manner, dict[str, Any]] = {
        manner: {row.handler: nothing for row in ROUTES if row.manner is manner}
        for manner in Manner
    }
    for bound in handlers.values():
        bound.pop(without or "", None)
    if more:
        handlers[Manner.PLAIN][more] = nothing
    registry = CollectorRegistry()
    build_app(
        gatekeeper=Gatekeeper(KeyRing(FakeClock()), ()),
        denials=Denials(registry=registry, now=FakeClock().monotonic_s, wrong_keys_per_minute=1),
        hot=handlers[Manner.HOT],
        plain=handlers[Manner.PLAIN],
    )


@pytest.mark.parametrize("handler", sorted(row.handler for row in ROUTES))
def test_a_row_without_a_handler_fails_the_start(handler: str) -> None:
    with pytest.raises(LookupError, match=handler.replace(".", r"\.")):
        start(without=handler)


def test_a_handler_without_a_row_fails_the_start() -> None:
    start()
    with pytest.raises(LookupError, match=r"debug\.shell"):
        start(more="debug.shell")


def test_every_row_names_its_scope() -> None:
    assert all(isinstance(row.scope, Scope) and row.scope in OPENS for row in ROUTES)
    assert len({(row.method, row.path) for row in ROUTES}) == len(ROUTES)
