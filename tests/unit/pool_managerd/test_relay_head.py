"""Which first bytes of a connection ask for a relay, and how strictly they are read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_core.errors import Refusal
from pool_managerd.serving.relay_head import HEAD_LIMIT_BYTES, Opening, Peek, peek

LINE = b"POST /workers/worker-cpu-0/relay HTTP/1.1\r\n"
WISH = b"Connection: Upgrade\r\nUpgrade: llorch-relay\r\n"
HEAD = LINE + b"Host: localhost\r\nAuthorization: Bearer k\r\n" + WISH + b"\r\n"


def refusal_of(head: bytes) -> Refusal:
    found = peek(head)
    assert isinstance(found, Refusal)
    return found


def test_a_whole_head_names_worker_and_fields() -> None:
    found = peek(HEAD)
    assert isinstance(found, Opening)
    assert found.head.worker == "worker-cpu-0"
    assert found.head.values("host") == ["localhost"]
    assert found.head.value("authorization") == "Bearer k"
    assert found.rest == b""


@given(st.integers(min_value=0, max_value=len(HEAD) - 1))
def test_any_piece_of_a_head_is_waited_for(length: int) -> None:
    assert peek(HEAD[:length]) is Peek.MORE


@given(st.binary(max_size=300))
def test_what_follows_the_head_belongs_to_the_worker(rest: bytes) -> None:
    found = peek(HEAD + rest)
    assert isinstance(found, Opening)
    assert found.rest == rest


@given(st.binary(max_size=300))
def test_no_bytes_make_it_fail(noise: bytes) -> None:
    for data in (noise, LINE + noise, LINE + WISH + noise + b"\r\n\r\n"):
        assert isinstance(peek(data), Opening | Refusal | Peek)


@pytest.mark.parametrize(
    "data",
    [
        b"GET /health HTTP/1.1\r\n",
        b"PO ",
        b"POST /workers/spawn HTTP/1.1\r\n",
        b"POST /workers/a/relay HTTP/1.0\r\n",
        b"POST /workers/a/relay?x HTTP/1.1\r\n",
        b"POST /workers/a/relay/ HTTP/1.1\r\n",
        b"POST /workers/../relay HTTP/1.1\r\n",
        b"POST /workers/%61/relay HTTP/1.1\r\n",
        b"POST  /workers/a/relay HTTP/1.1\r\n",
        b"POST /workers/" + b"a" * 300,
        LINE + b"Host: localhost\r\n\r\n",
        LINE + b"Connection: close\r\nUpgrade: llorch-relay\r\n\r\n",
        LINE + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_everything_else_is_for_the_server(data: bytes) -> None:
    assert peek(data) is Peek.ORDINARY


@pytest.mark.parametrize(
    "fields",
    [
        b"Host : localhost\r\n",
        b" Host: localhost\r\n",
        b"Host: local\r\n host\r\n",
        b"Host: local\rhost\r\n",
        b"Host: local\nX: y\r\n",
        b"Host: local\0host\r\n",
        b"Host: l\xc3\xb6calhost\r\n",
        b"Host\r\n",
        b": localhost\r\n",
    ],
)
def test_a_field_that_others_could_read_differently_is_refused(fields: bytes) -> None:
    assert "not well-formed" in refusal_of(LINE + fields + WISH + b"\r\n").message


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Content-Length: \r\n"]
)
def test_a_body_is_refused(fields: bytes) -> None:
    assert "no body" in refusal_of(LINE + fields + WISH + b"\r\n").message
    assert isinstance(peek(LINE + b"Content-Length: 0\r\n" + WISH + b"\r\n"), Opening)


def test_two_keys_are_refused() -> None:
    twice = b"Authorization: Bearer a\r\nauthorization: Bearer b\r\n"
    assert "once" in refusal_of(LINE + twice + WISH + b"\r\n").message


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_a_head_over_the_limit_is_refused(end: bytes) -> None:
    head = LINE + WISH + b"X: " + b"x" * HEAD_LIMIT_BYTES
    assert refusal_of(head + end).code == "TOO_LARGE"
