"""TLS towards a hub: the connection goes to an address, the proof is about the name."""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from orchestrator_core.errors import Code, PeerError, RequestError
from pool_core.fetch.settings import HubSettings, Proxies, WebSettings
from pool_core.fetch.web import Web

# A key that opens nothing, for a name that nobody can own.
PEM = """\
-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIGAm5PHKaEzRzUlKZXKHiqPIrw6eRT1Ni858hKTTL4t2oAoGCCqGSM49
AwEHoUQDQgAEw3vEGGmc0YFIO6O2EIM8aWZ0nX1Q+sLw9AUL0hwgYkfCRC6KUZ6B
fHLc6c0g1FjDAs5KZHB3kWvrfm2f5JJATQ==
-----END EC PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBdjCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAWMRQwEgYDVQQDDAtodWIuZXhh
bXBsZTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFjEUMBIGA1UE
AwwLaHViLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATDe8QYaZzR
gUg7o7YQgzxpZnSdfVD6wvD0BQvSHCBiR8JELopRnoF8ctzpzSDUWMMCzkpkcHeR
a+t+bZ/kkkBNo1owWDAWBgNVHREEDzANggtodWIuZXhhbXBsZTAPBgNVHRMBAf8E
BTADAQH/MA4GA1UdDwEB/wQEAwIChDAdBgNVHQ4EFgQUGZMb+qk4u9Go4JnelpcK
CFeKj1owCgYIKoZIzj0EAwIDRwAwRAIgIiOF6blTyaH5N30Cv9XxO8Ckw0VSI7jB
Wwn26kchxPcCIHGJHiZY5gzh4F77nodchibjxlC37fox3zuih7wp1W5z
-----END CERTIFICATE-----
"""


class SecureServer:
    """Answers each connection with one word, and remembers the names that were asked for."""

    def __init__(self, pem: Path) -> None:
        self.names: list[str | None] = []
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pem)
        self._context.sni_callback = lambda _, name, __: self.names.append(name)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        try:
            with self._context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(65536)
                secure.sendall(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
                )
        except OSError:
            # A client that does not trust us hangs up in the middle of the handshake.
            return


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    path = tmp_path / "hub.pem"
    path.write_text(PEM, "ascii")
    return path


@pytest.fixture
def server(pem: Path) -> Iterator[SecureServer]:
    server = SecureServer(pem)
    yield server
    server.close()


def client(server: SecureServer, host: str, ca_file: Path | None) -> tuple[Web, str]:
    endpoint = f"https://{host}:{server.port}"
    settings = WebSettings(endpoint=endpoint, is_named=True, ca_file=ca_file)
    return Web.open(settings, resolve=lambda *_: ["127.0.0.1"]), f"{endpoint}/api"


def test_the_name_is_proven_although_an_address_is_connected_to(
    server: SecureServer, pem: Path
) -> None:
    web, url = client(server, "hub.example", pem)
    with web:
        assert web.get(url, max_bytes=100).body == b"ok"
    assert server.names == ["hub.example"]


def test_an_unknown_authority_is_refused_in_one_line_that_helps(server: SecureServer) -> None:
    web, url = client(server, "hub.example", None)
    with web, pytest.raises(PeerError) as caught:
        web.get(url, max_bytes=100)
    assert caught.value.code is Code.UNREACHABLE
    assert caught.value.refusal.details["cause"] == "trust"
    assert "hub.example cannot prove who it is (self" in caught.value.refusal.message
    assert "set SSL_CERT_FILE" in caught.value.refusal.message


def test_a_certificate_for_another_name_is_refused(server: SecureServer, pem: Path) -> None:
    web, url = client(server, "other.example", pem)
    with web, pytest.raises(PeerError, match=r"other\.example cannot prove who it is"):
        web.get(url, max_bytes=100)


def test_the_certificates_of_the_environment_are_used(server: SecureServer, pem: Path) -> None:
    endpoint = f"https://hub.example:{server.port}"
    env = {"HF_ENDPOINT": endpoint, "SSL_CERT_FILE": str(pem), "HOME": str(pem.parent)}
    settings = HubSettings.from_env(env).web
    with Web.open(settings, resolve=lambda *_: ["127.0.0.1"]) as web:
        assert web.get(f"{endpoint}/api", max_bytes=100).status == 200


def test_a_proxy_that_refuses_is_named_without_its_password(pem: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse_one, args=(listener,))
        thread.start()
        proxy = SecretStr(f"http://user:hunter2@127.0.0.1:{listener.getsockname()[1]}")
        settings = WebSettings(
            endpoint="https://hub.example", is_named=True, proxies=Proxies(https=proxy), ca_file=pem
        )
        with Web.open(settings) as web, pytest.raises(PeerError) as caught:
            web.get("https://hub.example/api", max_bytes=100)
        thread.join()
    assert caught.value.refusal.details["cause"] == "proxy"
    assert "407" in caught.value.refusal.message
    assert "hunter2" not in caught.value.refusal.message


def refuse_one(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 407 Who are you\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize("text", ["", "no certificate"])
def test_a_file_without_certificates_is_said_to_be_one(tmp_path: Path, text: str) -> None:
    ca_file = tmp_path / "ca.pem"
    if text:
        ca_file.write_text(text, "ascii")
    settings = WebSettings(endpoint="https://127.0.0.1:1", is_named=True, ca_file=ca_file)
    with Web.open(settings) as web, pytest.raises(RequestError, match="holds no certificates"):
        web.get("https://127.0.0.1:1/api", max_bytes=100)


def test_a_proxy_that_cannot_be_read_is_not_shown() -> None:
    proxies = Proxies(https=SecretStr("http://ada:hunter2@proxy:port"))
    settings = WebSettings(endpoint="https://hub.example", is_named=True, proxies=proxies)
    with Web.open(settings) as web, pytest.raises(RequestError) as caught:
        web.get("https://hub.example/api", max_bytes=100)
    assert caught.value.code is Code.CONFIG_INVALID
    assert "hunter2" not in caught.value.refusal.message


def test_a_proxy_that_does_not_answer_is_not_mistaken_for_the_hub() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        proxies = Proxies(https=SecretStr(f"http://127.0.0.1:{taken.getsockname()[1]}"))
        settings = WebSettings(endpoint="https://hub.example", is_named=True, proxies=proxies)
        with Web.open(settings) as web, pytest.raises(PeerError, match="the proxy on the way to"):
            web.get("https://hub.example/api", max_bytes=100)
