"""Who gets a place at a pool's door when many want one."""

import pytest

from pool_managerd.serving.places import Place, Places


def take(places: Places, address: str, count: int) -> list[Place]:
    """As many places as one caller gets, at most so many."""
    return [place for _ in range(count) if (place := places.take(address)) is not None]


def test_one_stranger_leaves_room_for_others_and_all_strangers_for_this_machine() -> None:
    places = Places(16)
    assert len(take(places, "192.168.1.7", 99)) == 12
    assert len(take(places, "192.168.1.8", 99)) == 2
    assert len(take(places, "127.0.0.1", 99)) == 2
    assert places.taken == 16
    assert places.refused == 3 * 99 - 16


def test_a_place_that_is_left_is_free_again_and_leaving_twice_frees_one() -> None:
    places = Places(4)
    first, *_ = take(places, "127.0.0.1", 9)
    assert places.take("127.0.0.1") is None
    first.leave()
    first.leave()
    assert len(take(places, "127.0.0.1", 9)) == 1


@pytest.mark.parametrize("address", ["127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_known_by_every_loopback(address: str) -> None:
    assert len(take(Places(8), address, 99)) == 8


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9"),
        ("192.168.1.7", "::ffff:192.168.1.7"),
        ("fe80::1%eth0", "fe80::1%eth1"),
    ],
)
def test_a_host_with_many_addresses_is_one_stranger(one: str, other: str) -> None:
    places = Places(16)
    assert len(take(places, one, 12)) == 12
    assert places.take(other) is None
    assert places.take("2001:db8:9:9::1") is not None
