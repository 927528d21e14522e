"""Where a hub may send us, and what goes along: over real sockets, with names that we answer."""

import socket
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from orchestrator_core.errors import Code, LlorchError, PeerError, Refusal, RequestError
from pool_core.fetch.settings import HubSettings, Proxies, WebSettings
from pool_core.fetch.web import Web
from support.fake_hub import FakeHub
from support.transfers import Site, noise

CONTENT = noise(200_000)
TOKEN = "hf_" + "secret" * 5


class Names:
    """Answers for the names of a test, one list of addresses after the other; the last stays."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): lists for name, lists in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        lists = self.answers.get(host)
        if lists is None:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return lists.pop(0) if len(lists) > 1 else lists[0]


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub(token=TOKEN) as hub:
        yield hub


def fails(web: Web, url: str) -> Refusal:
    with pytest.raises(LlorchError) as caught:
        web.get(url, max_bytes=1_000_000)
    assert TOKEN not in str(caught.value)
    assert "Signature" not in str(caught.value)
    return caught.value.refusal


def test_the_token_goes_to_the_hub_and_to_nobody_else(hub: FakeHub, tmp_path: Path) -> None:
    with Site(hub, tmp_path, token=TOKEN) as site:
        file = site.offer(CONTENT, private=True)
        assert site.fetch(file) == site.into(file)
    shown = [(seen.leg, seen.authorization) for seen in hub.requests]
    assert shown == [("hub", f"Bearer {TOKEN}"), ("cdn", None)]


def test_headers_of_ours_stay_with_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    with Site(hub, tmp_path) as site:
        file = site.offer(CONTENT)
        site.web.get(file.url, headers={"X-Ours": "1", "Range": "bytes=0-9"}, max_bytes=1_000_000)
    first, second = hub.requests
    assert (first.headers["x-ours"], first.range) == ("1", "bytes=0-9")
    assert "x-ours" not in second.headers
    assert second.range == "bytes=0-9"
    assert second.headers["accept-encoding"] == "identity"
    assert second.headers["user-agent"].startswith("llorch/")


def test_a_head_follows_no_redirect(hub: FakeHub, tmp_path: Path) -> None:
    with Site(hub, tmp_path) as site:
        file = site.offer(CONTENT)
        reply = site.web.head(file.url)
    assert (reply.status, reply.headers["x-linked-size"]) == (302, str(len(CONTENT)))
    assert [seen.leg for seen in hub.requests] == ["hub"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data", "own network answers"),
        ("http://[fd00:ec2::254]/", "own network answers"),
        ("http://[::ffff:169.254.169.254]/", "own network answers"),
        ("http://0.0.0.0:1/", "no address of a host"),
        ("http://224.0.0.1/", "no address of a host"),
        ("http://2130706433/", "no proper name"),
        ("http://0x7f.1/", "no proper name"),
        ("http://user:secret@127.0.0.1/", "a name and a password"),
        ("ftp://127.0.0.1/file", "not https or http"),
        ("file:///etc/passwd", "not https or http"),
    ],
)
def test_a_redirect_to_a_forbidden_place_is_refused(
    hub: FakeHub, tmp_path: Path, target: str, reason: str
) -> None:
    hub.relocate = lambda _: target
    with Site(hub, tmp_path) as site:
        file = site.offer(CONTENT)
        refusal = site.fetch(file)
    assert isinstance(refusal, Refusal)
    assert refusal.code is Code.FORBIDDEN_HOST
    assert reason in refusal.message
    assert "secret" not in refusal.message
    assert site.rests_s == []


def test_redirects_without_end_are_ended(hub: FakeHub, tmp_path: Path) -> None:
    with Site(hub, tmp_path) as site:
        file = site.offer(CONTENT)
        hub.relocate = lambda _: file.url
        refusal = fails(site.web, file.url)
    assert "more than 5 redirects" in refusal.message
    assert len(hub.requests) == 6


def named(hub: FakeHub, names: Names, host: str = "hub.example") -> tuple[Web, str]:
    """A client that knows the fake hub under a name of the test's own."""
    endpoint = f"http://{host}:{hub.url.rpartition(':')[2]}"
    settings = WebSettings(endpoint=endpoint, is_named=True, token=SecretStr(TOKEN))
    return Web.open(settings, resolve=names), endpoint


def test_the_connection_goes_to_the_address_and_the_name_stays_in_the_request(
    hub: FakeHub,
) -> None:
    hub.add("acme/tiny", {"a.txt": b"hello"})
    names = Names(hub_example=[["127.0.0.1"]])
    web, endpoint = named(hub, names)
    with web:
        assert web.get(f"{endpoint}/api/models/acme/tiny", max_bytes=100_000).status == 200
    assert hub.requests[0].headers["host"] == endpoint.removeprefix("http://")
    # Once to know how far this hub may send us, once for the connection itself.
    assert names.asked == ["hub.example", "hub.example"]


def test_the_next_address_is_tried_when_one_does_not_answer(hub: FakeHub) -> None:
    hub.add("acme/tiny", {"a.txt": b"hello"})
    web, endpoint = named(hub, Names(hub_example=[["127.0.0.2", "127.0.0.1"]]))
    with web:
        assert web.get(f"{endpoint}/api/models/acme/tiny", max_bytes=100_000).status == 200


def test_a_public_name_that_turns_private_between_two_looks_is_not_connected_to(
    hub: FakeHub,
) -> None:
    web, endpoint = named(hub, Names(hub_example=[["93.184.216.34"], ["127.0.0.1"]]))
    with web:
        refusal = fails(web, f"{endpoint}/api/models/acme/tiny")
    assert refusal.code is Code.FORBIDDEN_HOST
    assert "private network (127.0.0.1)" in refusal.message
    assert hub.requests == []


def test_one_private_address_among_public_ones_is_enough_to_refuse(hub: FakeHub) -> None:
    names = Names(hub_example=[["93.184.216.34"], ["93.184.216.34", "10.0.0.1"]])
    web, endpoint = named(hub, names)
    with web:
        assert fails(web, f"{endpoint}/api").code is Code.FORBIDDEN_HOST


def test_a_name_of_the_cloud_s_own_secrets_is_not_connected_to(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.add("acme/tiny", {"a.gguf": CONTENT})
    hub.relocate = lambda _: "http://cdn.example/file"
    names = Names(hub_example=[["127.0.0.1"]], cdn_example=[["169.254.169.254"]])
    web, endpoint = named(hub, names)
    with web:
        refusal = fails(web, f"{endpoint}/acme/tiny/resolve/main/a.gguf")
    assert refusal.code is Code.FORBIDDEN_HOST


def test_the_built_in_hub_is_never_in_a_private_network(hub: FakeHub) -> None:
    names = Names(huggingface_co=[["127.0.0.1"]])
    with Web.open(HubSettings.from_env({"HOME": "/nowhere"}).web, resolve=names) as web:
        refusal = fails(web, "https://huggingface.co/api/models/acme/tiny")
    assert refusal.code is Code.FORBIDDEN_HOST
    assert "this network answers for huggingface.co itself, with 127.0.0.1" in refusal.message


def test_an_unknown_name_is_said_in_one_line(hub: FakeHub) -> None:
    web, endpoint = named(hub, Names())
    with web, pytest.raises(PeerError, match=r"no address is known for hub\.example"):
        web.get(f"{endpoint}/api", max_bytes=1000)


def test_a_closed_port_is_said_in_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with Web.open(WebSettings(endpoint=endpoint, is_named=True)) as web:
            assert "nothing answers at 127.0.0.1" in fails(web, f"{endpoint}/api").message


def test_a_silent_server_is_left_after_the_read_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        settings = WebSettings(endpoint=endpoint, is_named=True, read_timeout_s=0.2)
        with Web.open(settings) as web:
            assert fails(web, f"{endpoint}/api").code is Code.TIMEOUT


def test_a_longer_answer_than_is_read_is_refused(hub: FakeHub, tmp_path: Path) -> None:
    with Site(hub, tmp_path) as site:
        file = site.offer(CONTENT)
        with pytest.raises(PeerError, match="more than the 1000 bytes"):
            site.web.get(file.url, max_bytes=1000)


class Intermediary(BaseHTTPRequestHandler):
    """A proxy that answers itself: it sends whoever asks to a place inside."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("host")))  # type: ignore[attr-defined]
        self.send_response(302)
        self.send_header("location", self.server.target)  # type: ignore[attr-defined]
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def proxy() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Intermediary)
    server.asked, server.target = [], ""  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("target", ["http://127.0.0.1/x", "http://localhost/x", "http://db/x"])
def test_a_public_hub_behind_a_proxy_does_not_send_us_inside(
    proxy: ThreadingHTTPServer, target: str
) -> None:
    proxy.target = target  # type: ignore[attr-defined]
    proxies = Proxies(http=SecretStr(f"http://127.0.0.1:{proxy.server_address[1]}"))
    settings = WebSettings(endpoint="http://hub.example", is_named=True, proxies=proxies)
    names = Names()
    with Web.open(settings, resolve=names) as web, pytest.raises(RequestError) as caught:
        web.get("http://hub.example/api", max_bytes=1000)
    assert caught.value.code is Code.FORBIDDEN_HOST
    assert proxy.asked == [("http://hub.example/api", "hub.example")]  # type: ignore[attr-defined]
    # The proxy alone resolves the names.
    assert names.asked == []
