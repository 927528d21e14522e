"""The ways past the edge that others were broken by: rebinding, foreign pages, smuggling, twins."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestratord.routes import ROUTES
from support.orchestrator import Orchestrator, running_orchestrator

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
FOREIGN: tuple[list[str], ...] = (
    ["evil.example"], ["evil.example:8080"], ["10.0.0.7"], ["169.254.169.254"],
    ["localhost."], ["127.0.0.1."], ["localhost.evil.example"], ["localhost/x"],
    ["localhost?x"], ["localhost#x"], ["x@localhost"], ["localhost@evil.example"],
    ["http://localhost"], [""], [], ["localhost", "localhost"], ["localhost", "evil.example"],
    ["evil.example", "localhost"], ["localhost, evil.example"],
)  # fmt: skip
CLAIMS = (
    "x-forwarded-for", "x-real-ip", "forwarded", "x-forwarded-host", "x-forwarded-user",
    "x-original-url", "x-rewrite-url", "x-http-method-override", "cookie", "proxy-authorization",
)  # fmt: skip
ORIGINS = ("null", "https://evil.example", "http://localhost.evil.example", "file://", "x", "")
PATHS = ("/", "/livez", "/v1/models", "/v1/chat/completions", "/v2/tasks", "/v2/keys", "/metrics")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Orchestrator]:
    async with running_orchestrator(tmp_path) as site:
        yield site
        assert site.failures == []


async def raw(site: Orchestrator, *lines: str, body: bytes = b"") -> bytes:
    """Send these lines as they are and read whatever comes until the connection closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(site.url.rpartition(":")[2]))
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
    found = b""
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(5):
            found = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return found


def statuses(answer: bytes) -> list[int]:
    """The status of every response in an answer."""
    return [int(piece.split()[0]) for piece in answer.split(b"HTTP/1.1 ")[1:]]


@pytest.mark.parametrize("method", METHODS)
async def test_a_host_that_is_not_ours_gets_nothing_by_any_method(
    site: Orchestrator, method: str
) -> None:
    key = f"Authorization: Bearer {site.key}"
    for hosts in FOREIGN:
        fields = [f"Host: {host}" for host in hosts]
        for path in ("/v2/keys", "/"):
            answer = await raw(site, f"{method} {path} HTTP/1.1", *fields, key, "Connection: close")
            assert statuses(answer)[0] in (400, 403), (hosts, path, answer[:200])


@pytest.mark.parametrize(
    "target",
    [
        "http://evil.example/v2/tasks", "http://localhost/v2/tasks", "https://localhost/v2/tasks",
        "*", "v2/tasks", "localhost:80", "?/v2/tasks", "#/v2/tasks",
    ],
)  # fmt: skip
async def test_a_target_that_is_no_path_is_refused(site: Orchestrator, target: str) -> None:
    key = f"Authorization: Bearer {site.key}"
    answer = await raw(site, f"GET {target} HTTP/1.1", "Host: localhost", key, "Connection: close")
    assert statuses(answer) == [400], answer[:200]


@pytest.mark.parametrize("method", METHODS)
async def test_a_page_of_another_site_gets_nothing_by_any_method(
    site: Orchestrator, method: str
) -> None:
    for origin in ORIGINS:
        for path in PATHS:
            reply = await site.client.request(method, path, headers={"origin": origin})
            assert reply.status_code == 403, (origin, path)
            assert not [name for name in reply.headers if name.startswith("access-control-")]


async def test_a_page_of_our_own_may_ask_once(site: Orchestrator) -> None:
    ours = [("origin", site.url)]
    assert (await site.client.get("/livez", headers=ours)).status_code == 200
    assert (await site.client.get("/livez", headers=ours * 2)).status_code == 400


async def test_no_other_field_grants_or_changes_anything(site: Orchestrator) -> None:
    site.client.headers.pop("authorization", None)
    for name in CLAIMS:
        for value in ("127.0.0.1", "admin", "/livez", f"Bearer {site.key}", "evil.example"):
            reply = await site.client.get("/v2/tasks", headers={name: value})
            assert reply.status_code == 401, (name, value)
    assert (await site.client.get("/v2/tasks", headers={"x-api-key": site.key})).status_code == 200


async def test_two_keys_in_one_head_are_none(site: Orchestrator) -> None:
    user = await site.make_key("user")
    site.client.headers.pop("authorization", None)
    mine, other = f"Bearer {site.key}", f"Bearer {user}"
    for fields in (
        [("authorization", mine), ("authorization", mine)],
        [("authorization", mine), ("authorization", other)],
        [("authorization", other), ("authorization", mine)],
        [("authorization", mine), ("x-api-key", user)],
        [("authorization", other), ("x-api-key", site.key)],
        [("x-api-key", site.key), ("x-api-key", site.key)],
        [("authorization", "Basic eDp5"), ("x-api-key", site.key)],
    ):
        reply = await site.client.get("/v2/keys", headers=fields)
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "BAD_KEY"), fields
        assert site.key not in reply.text
    same = [("authorization", mine), ("x-api-key", site.key)]
    assert (await site.client.get("/v2/keys", headers=same)).status_code == 200


SMUGGLED = b"GET /v2/keys HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        ["Content-Length: 6", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 6"],
        ["Content-Length: 6", "Content-Length: 7"],
        ["Content-Length: 6, 7"],
        ["Content-Length: +6"],
        ["Content-Length: 0x6"],
        ["Content-Length: -1"],
        ["Content-Length: 6 6"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding : chunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["Content-Length : 6"],
        ["X: y\nTransfer-Encoding: chunked"],
        [" Transfer-Encoding: chunked"],
    ],
    ids=lambda fields: repr(" + ".join(fields)),
)
async def test_a_body_whose_length_can_be_read_in_two_ways_is_refused(
    site: Orchestrator, fields: list[str]
) -> None:
    head = ["POST /v2/tasks HTTP/1.1", "Host: localhost", f"Authorization: Bearer {site.key}"]
    answer = await raw(site, *head, *fields, body=b"0\r\n\r\n" + SMUGGLED)
    # Closed without a word, or one refusal; never an answer to what hid in the body.
    assert statuses(answer) in ([], [400]), answer[:300]


async def test_what_comes_behind_a_body_is_no_head(site: Orchestrator) -> None:
    task = b'{"model":"tiny-chat","prompt":"x"}'
    key = f"Authorization: Bearer {site.key}"
    head = ["POST /v2/tasks HTTP/1.1", "Host: localhost", "Transfer-Encoding: chunked"]
    body = b"%x\r\n%b\r\n0\r\n" % (len(task), task)
    late = f"{key}\r\nIdempotency-Key: late\r\n\r\n".encode()
    answer = await raw(site, *head, "Connection: close", body=body + late)
    assert statuses(answer) == [401]
    late = b"Host: evil.example\r\nIdempotency-Key: late\r\n\r\n"
    for _ in range(2):
        answer = await raw(site, *head, key, "Connection: close", body=body + late)
        assert (statuses(answer), b"replayed" in answer) == ([202], False)


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        ("GET /livez", ["Connection: Upgrade", "Upgrade: websocket"], 200),
        ("GET /livez", ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c"], 200),
        ("GET /livez", ["Connection: Upgrade", "Upgrade: h2c", "Content-Length: 0"], 200),
        ("POST /v2/tasks", ["Connection: Upgrade", "Upgrade: h2c", "Content-Length: 2"], 400),
        ("CONNECT /v2/tasks", [], 405),
        ("CONNECT localhost:80", [], 400),
    ],
)
async def test_another_protocol_is_not_begun_and_what_follows_is_not_read(
    site: Orchestrator, line: str, fields: list[str], status: int
) -> None:
    key = f"Authorization: Bearer {site.key}"
    head = [f"{line} HTTP/1.1", "Host: localhost", key]
    assert statuses(await raw(site, *head, *fields, body=b"{}" + SMUGGLED)) == [status]


async def test_every_message_is_one_line_whatever_a_caller_sends(site: Orchestrator) -> None:
    for path in (
        "/v2/tasks/%0d%0aX%1b[31m%e2%80%ae",
        "/v2/x%0a%07",
        "/v1/models/x%0ay",
        "/v1/x%0a",
    ):
        reply = await site.client.get(path)
        message = reply.json()["error"]["message"]
        assert reply.status_code in (400, 404)
        assert message.isprintable(), message


async def test_a_key_is_in_no_answer_whatever_is_wrong_with_it(site: Orchestrator) -> None:
    secret = "llo_admin_canary"
    site.client.headers["authorization"] = f"Bearer {secret}"
    for row in ROUTES:
        reply = await site.client.request(row.method, row.path.replace("{id}", "x"))
        assert secret not in reply.text + repr(reply.headers), row.path
