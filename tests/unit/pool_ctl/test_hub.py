"""How a host knows the orchestrator that it is about to join."""

import pytest

from orchestrator_core.errors import Refusal
from pool_ctl.pools.hub import Hub, read_sha256

HEX = "ab" * 32


@pytest.mark.parametrize(
    "text", [HEX, HEX.upper(), f"sha256:{HEX}", ":".join(["AB"] * 32), f" {HEX}\n"]
)
def test_a_fingerprint_is_read_as_people_copy_it(text: str) -> None:
    assert read_sha256(text) == HEX


@pytest.mark.parametrize("text", ["", HEX[:-1], HEX + "0", "g" * 64, f"md5:{HEX}", "-rf"])
def test_anything_else_is_one_line(text: str) -> None:
    refusal = read_sha256(text)
    assert isinstance(refusal, Refusal)
    assert "64 hex digits" in refusal.message


@pytest.mark.parametrize(
    ("url", "host", "port", "here"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("https://localhost", "localhost", 443, True),
        ("https://[::1]:8080", "::1", 8080, True),
        ("https://hub.example:8080", "hub.example", 8080, False),
        ("http://10.0.0.1", "10.0.0.1", 80, False),
    ],
)
def test_an_address_is_taken_apart(url: str, host: str, port: int, *, here: bool) -> None:
    hub = Hub(url)
    assert (hub.host, hub.port, hub.is_here) == (host, port, here)
