"""What a request looks like on the wire, and what can never get into one."""

import pytest

from orchestrator_core.errors import Code, RequestError
from orchestratord.upstream.request import build_request, host_header

PARTS: dict[str, str | bytes | None] = {
    "method": "POST",
    "target": "/v1/chat/completions",
    "host": "127.0.0.1:8001",
    "body": b"{}",
    "bearer": "secret",
    "accept": "text/event-stream",
    "correlation_id": "job-1",
}


def built(**changes: str | bytes | None) -> bytes:
    return build_request(**(PARTS | changes))


def test_writes_head_and_body() -> None:
    assert built() == (
        b"POST /v1/chat/completions HTTP/1.1\r\n"
        b"Host: 127.0.0.1:8001\r\n"
        b"Connection: close\r\n"
        b"Accept: text/event-stream\r\n"
        b"Authorization: Bearer secret\r\n"
        b"X-Correlation-Id: job-1\r\n"
        b"Content-Type: application/json\r\n"
        b"Content-Length: 2\r\n"
        b"\r\n"
        b"{}"
    )


def test_leaves_out_what_is_not_there() -> None:
    request = built(method="GET", body=b"", bearer=None, correlation_id=None)
    for name in (b"Authorization", b"X-Correlation-Id", b"Content-"):
        assert name not in request
    assert b"Content-Length: 0\r\n" in built(body=b"")


@pytest.mark.parametrize("evil", ["\r", "\n", "\r\nX: y", "\0", "é", "\x7f", "\N{LINE SEPARATOR}"])
@pytest.mark.parametrize("part", ["method", "target", "host", "bearer", "accept", "correlation_id"])
def test_refuses_a_part_that_could_start_a_line(part: str, evil: str) -> None:
    for text in (f"{PARTS[part]}{evil}", f"{evil}{PARTS[part]}", evil, ""):
        with pytest.raises(RequestError) as caught:
            built(**{part: text})
        assert caught.value.code is Code.INVALID_REQUEST
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize("target", ["v1", "/a b", "http://x/", "*"])
def test_refuses_a_target_that_is_no_path(target: str) -> None:
    with pytest.raises(RequestError):
        built(target=target)


def test_names_the_host_of_both_address_families() -> None:
    assert host_header(("127.0.0.1", 8001)) == "127.0.0.1:8001"
    assert host_header(("::1", 8001)) == "[::1]:8001"
    assert b"Host: [::1]:8001\r\n" in built(host="[::1]:8001")
