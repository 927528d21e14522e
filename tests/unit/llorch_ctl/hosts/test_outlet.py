"""What a host sends reaches our stdout whole, whatever its reader does."""

import asyncio
import threading
from collections.abc import Callable

from llorch_ctl.hosts.outlet import Outlet

MUCH = b"x" * (1 << 20)


def nobody() -> None:
    raise AssertionError("nobody left")


def open_room() -> asyncio.Event:
    room = asyncio.Event()
    room.set()
    return room


def outlet_to(write: Callable[[bytes], object], *, room: asyncio.Event | None = None) -> Outlet:
    return Outlet(write, room=room or open_room(), broken=nobody)


async def test_all_bytes_come_out_in_their_order() -> None:
    written: list[bytes] = []
    outlet = outlet_to(written.append)
    for number in range(100):
        outlet.put(b"%d " % number)
    await outlet.finish()
    assert b"".join(written) == b"".join(b"%d " % number for number in range(100))


async def test_a_reader_that_stalls_does_not_hold_up_the_giver() -> None:
    go_on = threading.Event()
    written: list[bytes] = []

    def write(data: bytes) -> None:
        go_on.wait()
        written.append(data)

    outlet = outlet_to(write)
    for _ in range(50):
        outlet.put(b"x" * 1000)
    assert not written
    go_on.set()
    await outlet.finish()
    assert len(b"".join(written)) == 50_000


async def test_a_reader_that_stalls_makes_the_host_wait_until_it_reads_again() -> None:
    go_on = threading.Event()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    room = open_room()

    def write(_data: bytes) -> None:
        loop.call_soon_threadsafe(begun.set)
        go_on.wait()

    outlet = outlet_to(write, room=room)
    outlet.put(b"x")
    await begun.wait()
    assert room.is_set()
    outlet.put(MUCH)
    assert not room.is_set()
    go_on.set()
    await room.wait()
    await outlet.finish()


async def test_nobody_waits_for_a_reader_that_is_given_up() -> None:
    go_on = threading.Event()
    outlet = outlet_to(lambda _data: go_on.wait())
    outlet.put(b"x")
    waiting = asyncio.ensure_future(outlet.finish())
    await asyncio.sleep(0)
    assert not waiting.done()
    go_on.set()
    await waiting


async def test_a_reader_that_left_is_told_once_and_the_rest_is_dropped() -> None:
    left = asyncio.Event()
    room = open_room()

    def write(_data: bytes) -> None:
        raise BrokenPipeError

    outlet = Outlet(write, room=room, broken=left.set)
    outlet.put(MUCH)
    await left.wait()
    await room.wait()
    outlet.put(MUCH)
    assert room.is_set()
    await outlet.finish()
    assert isinstance(outlet.error, BrokenPipeError)
