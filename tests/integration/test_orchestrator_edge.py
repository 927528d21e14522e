"""What every caller meets first: keys, hosts, bodies, correlation ids and the two error dialects."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from orchestratord.api.control.pools import PoolHandlers
from orchestratord.routes import ROUTES
from support.orchestrator import Orchestrator, chat_body, running_orchestrator
from support.waiting import until

TASK = {"model": "tiny-chat", "prompt": "Hello"}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    async with running_orchestrator(tmp_path) as site:
        yield site
        assert site.failures == []


def paths() -> list[tuple[str, str, str]]:
    """Every row of the table with a path that fits it."""
    return [(row.method, row.path.replace("{id}", "job_x"), row.scope.value) for row in ROUTES]


@pytest.mark.parametrize(("method", "path", "scope"), paths())
async def test_no_row_answers_without_a_key_but_the_open_ones(
    site: Orchestrator, method: str, path: str, scope: str
) -> None:
    for headers in ({}, {"authorization": "Basic eDp5"}, {"authorization": "Bearer"}):
        site.client.headers.pop("authorization", None)
        reply = await site.client.request(method, path, headers=headers)
        if scope == "open":
            # The one that joins a host asks for a token in its body, and for no key.
            assert reply.status_code == (200 if method == "GET" else 400)
            continue
        assert reply.status_code == 401, (method, path)
        assert reply.headers["www-authenticate"] == "Bearer"
        error = reply.json()["error"]
        if path.startswith("/v1/"):
            assert (error["code"], error["type"]) == ("invalid_api_key", "authentication_error")
        else:
            assert error["code"] == "NO_KEY"
            assert error["correlation_id"] == reply.headers["x-correlation-id"]


async def test_wrong_keys_and_wrong_scopes_are_told_apart(site: Orchestrator) -> None:
    user, pool = await site.make_key("user"), site.pool_key
    for key, path, status, code in (
        ("nonsense", "/v2/tasks", 401, "BAD_KEY"),
        ("x' OR '1'='1", "/v2/tasks", 401, "BAD_KEY"),
        (site.key[:-1], "/v2/tasks", 401, "BAD_KEY"),
        (user, "/v2/pools", 403, "SCOPE"),
        (user, "/metrics", 403, "SCOPE"),
        (pool, "/v2/tasks", 403, "SCOPE"),
        (site.key, "/v2/tasks", 200, None),
    ):
        site.client.headers.pop("authorization", None)
        for name, value in (("authorization", f"Bearer {key}"), ("x-api-key", key)):
            reply = await site.client.get(path, headers={name: value})
            assert reply.status_code == status, (key, path, name)
            if code:
                assert reply.json()["error"]["code"] == code
    body = chat_body()
    headers = {"authorization": f"Bearer {pool}"}
    refused = await site.client.post("/v1/chat/completions", json=body, headers=headers)
    assert refused.status_code == 403
    assert refused.json()["error"]["type"] == "permission_error"
    admin = {"authorization": f"Bearer {site.key}"}
    register = await site.client.post("/v2/pools/register", json={}, headers=admin)
    assert register.status_code == 403


@pytest.mark.parametrize(
    ("sent", "echoed"),
    [
        ("my-marker-1", True),
        ("x" * 64, True),
        ("x" * 65, False),
        ("has space", False),
        ("semi;colon", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("path", ["/livez", "/v1/models", "/v2/tasks", "/nowhere"])
async def test_a_correlation_id_is_echoed_or_replaced(
    site: Orchestrator, path: str, sent: str, echoed: bool
) -> None:
    reply = await site.client.get(path, headers={"x-correlation-id": sent})
    found = reply.headers["x-correlation-id"]
    assert (found == sent) is echoed
    assert found.replace("-", "").isalnum()
    assert reply.headers.get_list("x-correlation-id") == [found]


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil", ""])
async def test_a_foreign_host_or_origin_is_refused_on_every_row(
    site: Orchestrator, host: str
) -> None:
    for method, path, _ in paths():
        reply = await site.client.request(method, path, headers={"host": host})
        assert reply.status_code == 403, (method, path)
        origin = f"https://{host}"
        reply = await site.client.request(method, path, headers={"origin": origin})
        assert reply.status_code == 403, (method, path)
        code = reply.json()["error"]["code"]
        assert code in ("FORBIDDEN_HOST", "forbidden_host")


async def test_a_host_that_hides_a_path_reaches_no_handler(site: Orchestrator) -> None:
    for host in ("localhost/v1/x?", "localhost?/v1", "localhost#x", "x@localhost", "local\thost"):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", int(site.url.rpartition(":")[2])
        )
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        head = await reader.read()
        assert head.split()[1] in (b"403", b"400"), (host, head)
        writer.close()


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"model": NaN}', "not JSON"),
        (b'"text"', "dictionary"),
        (b"[]", "dictionary"),
        (b"{}", "model"),
        (b'{"model":"tiny-chat"}', "exactly one of prompt and messages"),
        (b'{"model":"tiny-chat","prompt":"a","messages":[]}', "messages"),
        (b'{"model":"tiny-chat","prompt":""}', "prompt"),
        (b'{"model":"tiny-chat","prompt":"a","priority":"urgent"}', "priority"),
        (b'{"model":"tiny-chat","prompt":"a","prio":"batch"}', "prio"),
        (b'{"model":"tiny-chat","prompt":"a","temperature":99}', "temperature"),
        (b'{"model":"tiny-chat","prompt":"a","max_tokens":0}', "max_tokens"),
        (b'{"model":"tiny-chat","prompt":"a","seed":-1}', "seed"),
        (b'{"model":"tiny-chat","prompt":"a","deadline_ms":0}', "deadline_ms"),
        (b'{"model":"tiny-chat","messages":[{"role":"boss","content":"a"}]}', "role"),
        (b'{"model":"tiny-chat","prompt":"a","response_format":' + b'{"a":' * 300 + b"1" + b"}" * 301, "deep"),
    ],
)  # fmt: skip
async def test_a_bad_submission_gets_one_readable_line(
    site: Orchestrator, body: bytes, word: str
) -> None:
    reply = await site.client.post("/v2/tasks", content=body)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert error["code"] == "INVALID_REQUEST"
    assert word in error["message"]
    assert "\n" not in error["message"]
    assert len(error["message"]) < 300


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"messages": []}, "messages"),
        ({"temperature": -1}, "temperature"),
        ({"top_p": 5}, "top_p"),
        ({"frequency_penalty": 9}, "frequency_penalty"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 2}, "n"),
        ({"stop": ["x"] * 3 + [""]}, "stop.3"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages.0.role"),
        ({"id_slot": 3}, "id_slot"),
        ({"lora": [{"id": 1}]}, "lora"),
        ({"slot_save_path": "/tmp"}, "slot_save_path"),
        ({"return_progress": False}, "return_progress"),
        ({"n_predict": -1}, "n_predict"),
        ({"functions": []}, "functions"),
    ],
)
async def test_a_bad_chat_names_its_field_in_openais_words(
    site: Orchestrator, more: dict[str, object], param: str
) -> None:
    reply = await site.ask(**more)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_request")
    assert error["param"] == param
    assert param in error["message"]


async def test_a_field_that_is_null_is_a_field_not_sent(site: Orchestrator) -> None:
    asked = asyncio.create_task(site.ask(functions=None, lora=None, tools=None, stream=None))
    await until(lambda: len(site.parts.open_calls), what="the waiting call")
    assert not asked.done()
    asked.cancel()


async def test_unknown_models_are_named_with_their_nearest(site: Orchestrator) -> None:
    task = await site.client.post("/v2/tasks", json={**TASK, "model": "tiny-chap"})
    assert (task.status_code, task.json()["error"]["code"]) == (404, "MODEL_NOT_FOUND")
    assert "tiny-chat" in task.json()["error"]["message"]
    chat = await site.ask(model="tiny-chap")
    assert (chat.status_code, chat.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("path", "cap", "key"),
    [
        ("/v2/tasks", 1 << 20, "admin"),
        ("/v2/pools/register", 1 << 20, "pool"),
        ("/v2/tasks/job_x/cancel", 64 << 10, "admin"),
        ("/v1/chat/completions", 32 << 20, "admin"),
    ],
)
async def test_a_body_over_the_cap_is_refused_with_or_without_its_length(
    site: Orchestrator, path: str, cap: int, key: str
) -> None:
    headers = {"authorization": f"Bearer {site.pool_key}"} if key == "pool" else {}
    declared = await site.client.post(path, content=b" " * (cap + 1), headers=headers)
    assert declared.status_code == 413

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(cap // 65536 + 1):
            yield b" " * 65536

    streamed = await site.client.post(path, content=pieces(), headers=headers)
    assert streamed.status_code == 413
    code = streamed.json()["error"]["code"]
    assert code == ("too_large" if path.startswith("/v1") else "TOO_LARGE")


async def test_paths_and_methods_outside_the_table(site: Orchestrator) -> None:
    missing = await site.client.get("/v2/nothing")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "NOT_FOUND")
    missing = await site.client.get("/v1/nothing")
    assert (missing.status_code, missing.json()["error"]["type"]) == (404, "not_found_error")
    for method, path, allow in (
        ("PUT", "/v2/tasks", "GET, POST"),
        ("POST", "/v2/tasks/job_x", "DELETE, GET"),
        ("GET", "/v1/chat/completions", "POST"),
        ("OPTIONS", "/livez", "GET"),
    ):
        reply = await site.client.request(method, path)
        assert (reply.status_code, reply.headers["allow"]) == (405, allow)
    for path in ("/docs", "/redoc", "/v2", "/v1", "//livez", "/livez/x", "/metrics/../livez"):
        assert (await site.client.get(path)).status_code in (404, 200)


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/v2/tasks", "/metrics", "/v2/pools", "/"])
async def test_head_and_a_trailing_slash_are_answered_like_get(
    site: Orchestrator, path: str
) -> None:
    head = await site.client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    slash = await site.client.get(path.rstrip("/") + "/")
    assert slash.status_code == 200
    assert slash.text == (await site.client.get(path)).text or path == "/metrics"


async def test_head_of_an_event_stream_ends_at_once(site: Orchestrator) -> None:
    job_id = await site.submit()
    async with asyncio.timeout(5):
        head = await site.client.head(f"/v2/tasks/{job_id}/events")
    assert head.status_code == 200
    assert len(site.parts.readers) == 0


async def test_a_fault_of_ours_is_told_in_our_envelope(
    site: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: Any) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(PoolHandlers, "_view", break_down)
    await site.register()
    plain = await site.client.get("/v2/pools")
    monkeypatch.setattr("orchestratord.api.hot.models.ModelHandlers._is_here", break_down)
    hot = await site.client.get("/v1/models")
    for reply in (plain, hot):
        assert reply.status_code == 500
        assert "secret" not in reply.text
    assert plain.json()["error"]["code"] == "INTERNAL"
    assert plain.json()["error"]["correlation_id"] == plain.headers["x-correlation-id"]
    assert hot.json()["error"]["type"] == "server_error"
    assert (await site.client.get("/livez")).status_code == 200


async def test_health_metrics_and_the_document(site: Orchestrator) -> None:
    client = site.client
    assert (await client.get("/livez")).json()["status"] == "ok"
    assert (await client.get("/readyz")).json()["status"] == "ok"
    root = await client.get("/")
    assert f"{site.url}/v1" in root.text
    document = (await client.get("/openapi.json")).json()
    assert set(document["paths"]) == {row.path for row in ROUTES}
    await site.submit()
    assert await site.metric("orchd_queue_depth") == 1
    assert await site.metric("orchd_jobs_live") == 1
    job_id = (await client.get("/v2/tasks")).json()["items"][0]["id"]
    await client.delete(f"/v2/tasks/{job_id}")
    assert await site.metric('orchd_jobs_finished_total{status="cancelled"}') == 1


async def test_a_stopping_daemon_takes_nothing_new(site: Orchestrator) -> None:
    site.stopping.set()
    ready = await site.client.get("/readyz")
    assert (ready.status_code, ready.json()["reasons"]) == (503, ["stopping"])
    task = await site.client.post("/v2/tasks", json=TASK)
    assert (task.status_code, task.json()["error"]["code"]) == (503, "DRAINING")
    assert int(task.headers["retry-after"]) >= 1
    chat = await site.ask()
    assert (chat.status_code, chat.json()["error"]["code"]) == (503, "draining")
    assert int(chat.headers["retry-after"]) >= 1
    assert (await site.client.get("/livez")).status_code == 200


async def test_a_duplicate_or_odd_query_is_harmless(site: Orchestrator) -> None:
    job_id = await site.submit()
    reply = await site.client.get(f"/v2/tasks/{job_id}/events?after=%31")
    assert reply.status_code == 400
    listed = await site.client.get("/v2/tasks?limit=1&limit=2&x=%00")
    assert listed.status_code == 200
    assert json.loads(listed.text)["items"]


@pytest.mark.parametrize("shape", ["many fields", "one endless field", "an endless path"])
async def test_a_head_without_end_is_refused_before_it_fills_the_memory(
    site: Orchestrator, shape: str
) -> None:
    port = int(site.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    line = b"x" * 1000
    head, more = {
        "many fields": (b"GET / HTTP/1.1\r\n", b"X-Y: " + line + b"\r\n"),
        "one endless field": (b"GET / HTTP/1.1\r\nX-Y: ", line),
        "an endless path": (b"GET /", line),
    }[shape]
    writer.write(head)
    with contextlib.suppress(ConnectionError):
        for _ in range(1000):
            writer.write(more)
            await writer.drain()
    with contextlib.suppress(ConnectionError):
        answer = await reader.read()
        assert answer == b"" or answer.startswith(b"HTTP/1.1 400")
    writer.close()
    await until(lambda: not site.server.server_state.connections, what="the closed connection")
    # A head of a usual size and a large body in the same piece are no matter.
    body = json.dumps(chat_body("x" * 500_000)).encode()
    reply = await site.client.post("/v1/nowhere", content=body, headers={"x-long": "y" * 40_000})
    assert reply.status_code == 404
