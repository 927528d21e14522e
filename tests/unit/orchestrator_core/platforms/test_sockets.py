"""Listening sockets: the address grammar, and who is in the way."""

import os
import socket

import pytest

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.platforms.linux import LinuxPlatform
from orchestrator_core.platforms.sockets import bind_listener, parse_bind

PLATFORM = LinuxPlatform()


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:9200", ("::1", 9200)),
        ("host.lan:65535", ("host.lan", 65535)),
    ],
)
def test_reads_an_address(text: str, address: tuple[str, int]) -> None:
    assert parse_bind(text) == address


@pytest.mark.parametrize(
    "text", ["", "8080", ":8080", "host", "a:b", "::1:80", "h:65536", "h:-1", "h:٣"]
)
def test_refuses_what_is_no_address(text: str) -> None:
    refusal = parse_bind(text)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.CONFIG_INVALID


@pytest.mark.parametrize("bind", ["127.0.0.1:0", "[::1]:0"])
def test_listener_takes_connections_at_once(bind: str) -> None:
    listener = bind_listener(bind, PLATFORM)
    assert isinstance(listener, socket.socket)
    with listener, socket.create_connection(listener.getsockname()[:2], timeout=5):
        connection, _ = listener.accept()
        connection.close()


def test_taken_port_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        bind = f"127.0.0.1:{holder.getsockname()[1]}"
        refusal = bind_listener(bind, PLATFORM)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.PORT_IN_USE
    assert refusal.message.startswith(f"{bind} is in use by process {os.getpid()} (")
    assert refusal.details["pid"] == os.getpid()


def test_address_of_another_machine_is_refused_in_one_line() -> None:
    for bind in ("192.0.2.1:0", "no such host:1"):
        refusal = bind_listener(bind, PLATFORM)
        assert isinstance(refusal, Refusal)
        assert refusal.code is Code.CONFIG_INVALID
        assert "\n" not in refusal.message
    assert bind_listener("nonsense", PLATFORM) == parse_bind("nonsense")
