"""Who may call the pool, and how each refusal looks: a matrix over the one route table."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from orchestrator_core.contracts.control import ErrorBody, ErrorEnvelope
from orchestrator_core.errors import OUTCOMES, Code
from pool_managerd.api.guard import HostGuard, KeyGuard
from pool_managerd.app.http import bind, handlers_for
from pool_managerd.routes import ROUTES, Route, Scope
from pool_managerd.runtime.keyring import Caller, Keyring
from pool_managerd.runtime.pool import Pool
from support.pool_fakes import SPEC, FakeWorkers

OPERATOR_KEY = "the-operator-key"
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SPAWN = {"spec": SPEC.model_dump(mode="json")}
# Which keys open which scope; the product's own table stays out of it.
OPENS = {
    Scope.OPERATOR: {Caller.OPERATOR},
    Scope.CONTROL: {Caller.OPERATOR, Caller.ORCHESTRATOR},
    Scope.JOINED: {Caller.JOINED},
    Scope.PEER: {Caller.OPERATOR, Caller.PEER},
}
# The one-time token is the key of a join, and a wrong one is as good as none.
OPEN_ANSWERS = {"health": (200,), "session.join": (403,)}
BODIES = {
    "session.join": {"token": "a-token-that-nobody-laid"},
    "session.answer": {"id": 1, "error": {"code": "INTERNAL", "message": "no"}},
    "workers.spawn": SPAWN,
    "models.info": {"model": "tiny-llama"},
    "models.delete": {"model": "tiny-llama"},
    "models.clean_up": {},
    "models.import": {"hub_cache": True},
    "downloads.order": {"model": "tiny-llama"},
}


def error_of(response: httpx.Response) -> ErrorBody:
    assert response.headers["content-type"] == "application/json"
    error = ErrorEnvelope.model_validate_json(response.content).error
    assert error.message
    assert "\n" not in error.message
    assert error.correlation_id == response.headers["x-correlation-id"]
    return error


def refuses(response: httpx.Response, code: str) -> None:
    """The answer is this refusal, as far as an answer without a body can say it."""
    if response.request.method == "HEAD":
        assert response.status_code == OUTCOMES[Code(code)].http_status
        assert response.content == b""
    else:
        assert error_of(response).code == code


async def call(api: httpx.AsyncClient, route: Route, key: str | None) -> httpx.Response:
    headers = {"authorization": key} if key is not None else {}
    body = BODIES.get(route.handler)
    return await api.request(route.method, path_of(route.path), headers=headers, json=body)


def path_of(template: str) -> str:
    return template.replace("{worker}", "worker-cpu-0").replace("{download}", "dwn_0")


def name(route: Route) -> str:
    return route.handler


def key_of(caller: Caller, keyring: Keyring) -> str:
    match caller:
        case Caller.OPERATOR:
            return OPERATOR_KEY
        case Caller.ORCHESTRATOR:
            return keyring.offer()
        case Caller.JOINED:
            keyring.admit_joined(hashlib.sha256(b"the-credential").hexdigest())
            return "the-credential"
        case Caller.PEER:
            keyring.admit_peers("the-peers-key")
            return "the-peers-key"


@pytest.mark.parametrize("route", ROUTES, ids=name)
@pytest.mark.parametrize("key", [None, "", "Bearer", "Bearer ", "Basic abc"])
async def test_no_key_opens_only_what_is_open(
    api: httpx.AsyncClient, route: Route, key: str | None
) -> None:
    response = await call(api, route, key)
    if route.scope is Scope.OPEN:
        assert response.status_code in OPEN_ANSWERS[route.handler]
    else:
        assert response.status_code == 401
        refuses(response, "NO_KEY")


@pytest.mark.parametrize("route", ROUTES, ids=name)
async def test_a_wrong_key_opens_only_what_is_open(api: httpx.AsyncClient, route: Route) -> None:
    response = await call(api, route, "Bearer wrong")
    if route.scope is Scope.OPEN:
        assert response.status_code in OPEN_ANSWERS[route.handler]
    else:
        assert response.status_code == 401
        refuses(response, "BAD_KEY")


@pytest.mark.parametrize("route", ROUTES, ids=name)
@pytest.mark.parametrize("caller", Caller)
async def test_each_key_opens_what_its_holder_needs_and_nothing_else(
    api: httpx.AsyncClient, route: Route, keyring: Keyring, pool: Pool, caller: Caller
) -> None:
    # A stream that were let in would otherwise go on for ever.
    loop = asyncio.get_running_loop()

    def end_soon() -> None:
        loop.call_soon(pool.session.close, "the test has seen it")

    pool.session.connect(end_soon)
    response = await call(api, route, f"Bearer {key_of(caller, keyring)}")
    if route.scope is Scope.OPEN:
        assert response.status_code in OPEN_ANSWERS[route.handler]
    elif caller in OPENS[route.scope]:
        assert response.status_code not in (401, 403, 405)
        assert response.status_code < 500
    else:
        assert response.status_code == 403
        refuses(response, "SCOPE")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", sorted({route.path for route in ROUTES}))
async def test_methods_outside_the_table_are_refused(
    api: httpx.AsyncClient, operator: dict[str, str], path: str, method: str
) -> None:
    if any(route.path == path and route.method == method for route in ROUTES):
        return
    response = await api.request(method, path_of(path), headers=operator)
    assert response.status_code == 405
    assert response.headers["allow"]
    if method != "HEAD":
        assert error_of(response).code == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/redoc", "/workers/", "/v2/tasks"]
)
async def test_unknown_paths_are_not_found(api: httpx.AsyncClient, path: str) -> None:
    response = await api.get(path)
    assert response.status_code == 404
    assert error_of(response).code == "NOT_FOUND"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.",
        "",
        "127.0.0.1:9200@evil.example",
        "[::2]:9200",
        "2130706433",
    ],
)
@pytest.mark.parametrize("route", ROUTES, ids=name)
async def test_a_foreign_host_name_is_refused_on_every_route(
    api: httpx.AsyncClient, operator: dict[str, str], route: Route, host: str
) -> None:
    response = await api.request(route.method, route.path, headers={"host": host, **operator})
    assert response.status_code == 403
    refuses(response, "FORBIDDEN_HOST")


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:9200", "LOCALHOST", "[::1]:9200", "box:9200", "box.local", "pool.example:80"],
)
async def test_our_own_names_are_answered(api: httpx.AsyncClient, host: str) -> None:
    response = await api.get("/health", headers={"host": host})
    assert response.status_code == 200


@pytest.mark.parametrize("bind", ["0.0.0.0", "::", "192.168.1.7"])
@pytest.mark.parametrize(
    ("host", "always", "on_every_address"),
    [
        ("192.168.1.7:9200", True, True),
        ("10.0.0.1", False, True),
        ("[fd00::1]:9200", False, True),
        ("10.0.0.1.evil.example", False, False),
        ("0x7f.1", False, False),
        ("2130706433", False, False),
        ("evil.example", False, False),
    ],
)
def test_an_address_is_no_name_that_a_page_could_point_at_us(
    bind: str, host: str, *, always: bool, on_every_address: bool
) -> None:
    guard = HostGuard(bind, "box")
    is_wildcard = bind != "192.168.1.7"
    answered = on_every_address if is_wildcard else always
    assert (guard.check([host], None) is None) is answered
    assert guard.check([host], "https://evil.example") is not None
    assert guard.check([host, host], None) is not None


async def test_two_host_headers_are_refused(api: httpx.AsyncClient) -> None:
    twice = [("host", "127.0.0.1"), ("host", "evil.example")]
    response = await api.get("/health", headers=twice)
    assert response.status_code == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost:3000", 200), ("https://evil.example", 403), ("null", 403)],
)
async def test_a_foreign_page_is_refused(api: httpx.AsyncClient, origin: str, status: int) -> None:
    assert (await api.get("/health", headers={"origin": origin})).status_code == status


async def test_a_body_over_one_mebibyte_is_refused(
    api: httpx.AsyncClient, operator: dict[str, str], workers: FakeWorkers
) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(33):
            yield b" " * 32768

    kind = {"content-type": "application/json", **operator}
    announced = await api.post("/workers/spawn", content=b" " * 1_048_577, headers=kind)
    silent = await api.post("/workers/spawn", content=chunks(), headers=kind)
    for response in (announced, silent):
        assert response.status_code == 413
        assert error_of(response).code == "TOO_LARGE"
    assert workers.spawned == []


async def test_the_key_is_checked_before_the_body_is_read(api: httpx.AsyncClient) -> None:
    response = await api.post("/workers/spawn", content=b"{nonsense")
    assert error_of(response).code == "NO_KEY"


async def test_a_well_formed_correlation_id_is_echoed(api: httpx.AsyncClient) -> None:
    response = await api.get("/health", headers={"x-correlation-id": "abc-123"})
    assert response.headers["x-correlation-id"] == "abc-123"


@pytest.mark.parametrize("given", ["a b", "x" * 65, "<script>", "ü".encode().decode("latin-1")])
async def test_any_other_correlation_id_is_replaced(api: httpx.AsyncClient, given: str) -> None:
    response = await api.get("/nowhere", headers={"x-correlation-id": given.encode("latin-1")})
    assert response.headers["x-correlation-id"] != given
    error_of(response)


async def test_an_unforeseen_failure_is_one_line_to_the_caller_and_all_to_the_log(
    api: httpx.AsyncClient,
    operator: dict[str, str],
    workers: FakeWorkers,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workers.failure = RuntimeError("the secret inside")
    response = await api.post("/workers/spawn", json=SPAWN, headers=operator)
    assert response.status_code == 500
    error = error_of(response)
    assert error.code == "INTERNAL"
    assert "secret" not in json.dumps(error.model_dump())
    assert "the secret inside" in capsys.readouterr().out + caplog.text


def test_a_route_without_a_handler_and_a_handler_without_a_route_refuse_to_start(
    pool: Pool, keyring: Keyring
) -> None:
    handlers = handlers_for(pool)
    guard = KeyGuard(keyring)
    with pytest.raises(ValueError, match="health"):
        bind(ROUTES, {name: it for name, it in handlers.items() if name != "health"}, guard)
    with pytest.raises(ValueError, match="stray"):
        bind(ROUTES, {**handlers, "stray": handlers["health"]}, guard)
