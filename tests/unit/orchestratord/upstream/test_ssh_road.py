"""Which of two failures a road over SSH tells: the worker refused, or there is no way to its host."""

import asyncio
from collections.abc import Callable

import pytest

from orchestratord.upstream.road import RoadDownError
from orchestratord.upstream.ssh_road import SshRoad

ADDRESS = ("127.0.0.1", 8001)


class Dialer:
    """A connection that dials, and may be lost while it does."""

    def __init__(self) -> None:
        self.dialled: list[tuple[str, int]] = []
        self.refuses: OSError | None = None
        self.on_dial: Callable[[], None] = lambda: None

    async def dial(self, make: Callable[[], asyncio.Protocol], host: str, port: int) -> None:
        self.dialled.append((host, port))
        self.on_dial()
        if self.refuses is not None:
            raise self.refuses


async def test_dials_over_the_connection_of_the_moment() -> None:
    present = [Dialer()]
    road = SshRoad("mac", lambda: present[-1])
    await road.connect(asyncio.Protocol, ADDRESS)
    present.append(Dialer())
    await road.connect(asyncio.Protocol, ADDRESS)
    assert [dialer.dialled for dialer in present] == [[ADDRESS], [ADDRESS]]


async def test_without_a_connection_it_fails_at_once() -> None:
    with pytest.raises(RoadDownError, match="the ssh connection to mac is down"):
        await SshRoad("mac", lambda: None).connect(asyncio.Protocol, ADDRESS)


async def test_a_worker_that_refuses_is_told_as_it_is() -> None:
    dialer = Dialer()
    dialer.refuses = ConnectionRefusedError("Connection refused")
    with pytest.raises(ConnectionRefusedError) as caught:
        await SshRoad("mac", lambda: dialer).connect(asyncio.Protocol, ADDRESS)
    assert not isinstance(caught.value, RoadDownError)


async def test_a_connection_that_is_lost_while_it_dials_is_no_refusal_of_the_worker() -> None:
    present: list[Dialer | None] = [dialer := Dialer()]
    dialer.refuses = ConnectionRefusedError("SSH connection closed")
    dialer.on_dial = lambda: present.append(None)
    with pytest.raises(RoadDownError):
        await SshRoad("mac", lambda: present[-1]).connect(asyncio.Protocol, ADDRESS)


async def test_a_connection_whose_end_nobody_has_noted_yet_is_no_refusal_of_the_worker() -> None:
    dialer = Dialer()
    dialer.refuses = ConnectionResetError("the connection is lost")
    with pytest.raises(RoadDownError):
        await SshRoad("mac", lambda: dialer).connect(asyncio.Protocol, ADDRESS)
