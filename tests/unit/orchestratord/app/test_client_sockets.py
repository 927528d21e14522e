"""Connections of clients inherit what was set on the listening socket."""

import asyncio
import contextlib
import resource
import socket
import sys

import pytest

from orchestrator_core.units import KIB
from orchestratord.app.client_sockets import clients_limit, raise_open_files, set_up_clients


async def accepted(listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    listener.setblocking(False)
    _, (ours, _) = await asyncio.gather(
        loop.sock_connect(client, listener.getsockname()), loop.sock_accept(listener)
    )
    return client, ours


def fill(ours: socket.socket, limit_bytes: int) -> int:
    """How much the system takes from us while nobody reads at the other end."""
    kept = 0
    with contextlib.suppress(BlockingIOError):
        while kept < limit_bytes:
            kept += ours.send(bytes(1000))
    return kept


async def test_small_pieces_leave_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        set_up_clients(listener, 30)
        client, ours = await accepted(listener)
        with client, ours:
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems set their own bounds")
async def test_the_system_keeps_little_for_a_client_that_does_not_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        set_up_clients(listener, 30)
        client, ours = await accepted(listener)
        with client, ours:
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 35_000
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == 64 * KIB
            assert fill(ours, 1000 * KIB) < 256 * KIB


def test_each_client_leaves_room_for_its_worker_and_for_our_own_files() -> None:
    assert clients_limit(1024) == 384
    assert clients_limit(100) == 64
    assert clients_limit(10**6) == 16_384


@pytest.mark.parametrize(
    ("soft", "hard", "granted"),
    [
        (1024, 524_288, 65_536),
        (1024, 4096, 4096),
        (1024, resource.RLIM_INFINITY, 65_536),
        (100_000, 524_288, 100_000),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 65_536),
    ],
)
def test_the_system_is_asked_for_as_many_files_as_it_grants(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, granted: int
) -> None:
    limits = [(soft, hard)]

    def ask(_: int) -> tuple[int, int]:
        return limits[-1]

    def grant(_: int, wanted: tuple[int, int]) -> None:
        limits.append(wanted)

    monkeypatch.setattr(resource, "getrlimit", ask)
    monkeypatch.setattr(resource, "setrlimit", grant)
    assert raise_open_files() == granted
    assert limits[-1][1] == hard


def test_a_system_that_grants_less_than_it_says_is_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    def ask(_: int) -> tuple[int, int]:
        return 256, resource.RLIM_INFINITY

    monkeypatch.setattr(resource, "getrlimit", ask)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_open_files() == 256
