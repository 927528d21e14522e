"""What reaches a real datagram socket, as systemd would read it."""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator_core.daemon.notify import Notifier, keep_alive, watchdog_interval_s


@contextmanager
def manager(kind: str, folder: Path) -> Iterator[tuple[socket.socket, str]]:
    """A service manager's socket, and its address as NOTIFY_SOCKET spells it."""
    address = f"@llorch-{secrets.token_hex(8)}" if kind == "abstract" else str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1) if kind == "abstract" else address)
        listener.settimeout(10)
        yield listener, address


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_every_word_arrives_as_systemd_reads_it(kind: str, tmp_path: Path) -> None:
    with manager(kind, tmp_path) as (listener, address):
        notifier = Notifier.from_env({"NOTIFY_SOCKET": address})
        said = [
            (notifier.ready("2 workers\nadopted"), b"READY=1\nSTATUS=2 workers adopted"),
            (notifier.ready(), b"READY=1"),
            (notifier.status("3 workers, 1 loading"), b"STATUS=3 workers, 1 loading"),
            (notifier.alive(), b"WATCHDOG=1"),
            (notifier.extend_timeout(12.5), b"EXTEND_TIMEOUT_USEC=12500000"),
            (notifier.stopping(), b"STOPPING=1"),
        ]
        for told, expected in said:
            assert told
            assert listener.recv(4096) == expected


@pytest.mark.parametrize(
    "env", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}, {"NOTIFY_SOCKET": "a\0b"}]
)
def test_nobody_listens_and_nothing_breaks(env: dict[str, str]) -> None:
    notifier = Notifier.from_env(env)
    assert not notifier.ready("here I am")
    assert not notifier.alive()


def test_vanished_manager_is_no_error(tmp_path: Path) -> None:
    with manager("path", tmp_path) as (_, address):
        notifier = Notifier.from_env({"NOTIFY_SOCKET": address})
    assert not notifier.stopping()


def test_manager_that_reads_nothing_does_not_hold_the_daemon_up(tmp_path: Path) -> None:
    with manager("path", tmp_path) as (listener, address):
        notifier = Notifier.from_env({"NOTIFY_SOCKET": address})
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.connect(address)
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    filler.send(b"x")
        assert not notifier.alive()
        assert listener.recv(1) == b"x"


@pytest.mark.parametrize(
    ("env", "interval_s"),
    [
        ({"WATCHDOG_USEC": "60000000"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "77"}, 30.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "78"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({}, None),
    ],
)
def test_signs_of_life_are_due_twice_in_the_managers_patience(
    env: dict[str, str], interval_s: float | None
) -> None:
    assert watchdog_interval_s(env, 77) == interval_s


async def test_loop_that_runs_gives_signs_of_life_in_its_interval(tmp_path: Path) -> None:
    with manager("path", tmp_path) as (listener, address):
        paused: list[float] = []

        async def pause(seconds: float) -> None:
            paused.append(seconds)
            await asyncio.sleep(0)
            if len(paused) == 3:
                raise asyncio.CancelledError

        with pytest.raises(asyncio.CancelledError):
            await keep_alive(Notifier(address), 30.0, pause)
        assert paused == [30.0] * 3
        assert [listener.recv(64) for _ in paused] == [b"WATCHDOG=1"] * 3


async def test_no_watchdog_needs_no_task() -> None:
    await keep_alive(Notifier(None), watchdog_interval_s({}, os.getpid()))
