"""What is learned of a daemon before anything is told to it."""

import hashlib
import socket
import ssl
from pathlib import Path

from orchestrator_core.clients.approach import facing_address, fetch_certificate
from orchestrator_core.errors import Code, Refusal
from support.tls_front import tls_front

HEX = "ab" * 32


def fetched(url: str, sha256: str) -> str | Refusal:
    port = int(url.rpartition(":")[2])
    return fetch_certificate(url, "127.0.0.1", port, sha256=sha256)


def test_only_the_certificate_of_the_fingerprint_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        plain = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with tls_front(plain, tmp_path / "front.pem") as url:
            pem = (tmp_path / "front.pem").read_text()
            shown = pem[pem.index(ssl.PEM_HEADER) :]
            sha256 = hashlib.sha256(ssl.PEM_cert_to_DER_cert(shown)).hexdigest()
            assert fetched(url, sha256) == shown
            refusal = fetched(url, HEX)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.HOST_REFUSED
    assert f"sha256:{sha256}" in refusal.message


def test_who_does_not_answer_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"https://127.0.0.1:{taken.getsockname()[1]}"
    refusal = fetched(url, HEX)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.UNREACHABLE
    assert url in refusal.message


def test_the_address_that_faces_the_orchestrator() -> None:
    assert facing_address("127.0.0.1", 8080) == "127.0.0.1"
    refusal = facing_address("no-such-host.invalid", 8080)
    assert isinstance(refusal, Refusal)
    assert "no-such-host.invalid" in refusal.message
