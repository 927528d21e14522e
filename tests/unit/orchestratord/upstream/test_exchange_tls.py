"""The same exchange behind TLS: whom it trusts, and how an end is told from a cut."""

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from orchestratord.upstream import exchange
from orchestratord.upstream.exchange import Exchange, Fault, FaultKind, open_exchange
from orchestratord.upstream.request import build_request
from orchestratord.upstream.ssh_road import SshRoad
from support.openai_server import OpenAiServer, make_certificate

BODY = b'{"model":"org/big-model","stream":true}'


class Receiver:
    """Collects an answer."""

    def __init__(self) -> None:
        self.body = b""
        self.end: asyncio.Future[Fault | None] = asyncio.get_running_loop().create_future()

    def head(self, status: int, headers: Mapping[bytes, bytes]) -> None:
        assert status == 200

    def data(self, body: bytes) -> None:
        self.body += body

    def ended(self) -> None:
        self.end.set_result(None)

    def broken(self, fault: Fault) -> None:
        self.end.set_result(fault)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenAiServer]:
    """A server behind TLS whose certificate this process trusts."""
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    exchange._trusted.cache_clear()
    with OpenAiServer(certificate=certificate) as server:
        yield server
    exchange._trusted.cache_clear()


async def ask(port: int, receiver: Receiver, host: str = "127.0.0.1") -> Exchange | Fault:
    request = build_request(
        "POST",
        "/v1/chat/completions",
        host,
        BODY,
        bearer=None,
        accept="text/event-stream",
        correlation_id=None,
    )
    return await open_exchange((host, port), request, receiver, connect_timeout_s=5, tls=True)


async def test_a_whole_answer_comes_through(server: OpenAiServer) -> None:
    receiver = Receiver()
    assert isinstance(await ask(server.port, receiver), Exchange)
    assert await receiver.end is None
    assert receiver.body.endswith(b"data: [DONE]\n\n")


async def test_an_answer_that_is_cut_off_is_the_workers_end_and_not_ours(
    server: OpenAiServer,
) -> None:
    server.manners.dies_after = 1
    receiver = Receiver()
    await ask(server.port, receiver)
    fault = await receiver.end
    assert fault is not None
    assert (fault.kind, fault.begun) == (FaultKind.EOF, True)


async def test_a_certificate_for_another_name_is_refused(server: OpenAiServer) -> None:
    fault = await ask(server.port, Receiver(), "localhost")
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.CONNECT
    assert "certificate" in fault.message


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    server: OpenAiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    exchange._trusted.cache_clear()
    fault = await ask(server.port, Receiver())
    assert isinstance(fault, Fault)
    assert "self-signed" in fault.message
    assert server.chats == []


async def test_an_answer_can_be_given_up_in_its_middle(server: OpenAiServer) -> None:
    receiver = Receiver()
    opened = await ask(server.port, receiver)
    assert isinstance(opened, Exchange)
    opened.pause()
    opened.resume()
    opened.abort()
    assert opened.finished
    assert not receiver.end.done()


async def test_a_road_to_another_host_never_ends_at_our_own_loopback(
    server: OpenAiServer,
) -> None:
    road = SshRoad("mac", lambda: None)
    fault = await open_exchange(
        ("127.0.0.1", server.port), b"", Receiver(), connect_timeout_s=5, tls=True, road=road
    )
    assert isinstance(fault, Fault)
    assert (fault.kind, "loopback of another host" in fault.message) == (FaultKind.ROAD, True)
