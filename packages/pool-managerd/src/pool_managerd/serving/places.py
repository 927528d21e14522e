"""How many connections may wait at the door at once, and how many of them from one address: pure.

A connection holds a place until it ends or has become a relay, which counts among the relays.
Some places are this machine's alone, so that strangers cannot lock its operator out.
"""

import ipaddress
from collections import Counter
from typing import Final

__all__ = ["PLACES", "Place", "Places"]

PLACES: Final = 512

_MAPPED: Final = "::ffff:"


class Places:
    """The places of one listening socket."""

    def __init__(self, total: int = PLACES) -> None:
        self._total = total
        # An eighth is kept for this machine, and no single address gets more than three quarters.
        self._for_strangers = total - total // 8
        self._for_one = total - total // 4
        self._taken = 0
        self._by_address: Counter[str] = Counter()
        self.refused = 0

    @property
    def taken(self) -> int:
        """How many there are now."""
        return self._taken

    def take(self, address: str) -> "Place | None":
        """A place for a caller from there; None when it gets none."""
        whose = _whose(address)
        if not self._has_room_for(whose):
            self.refused += 1
            return None
        self._taken += 1
        self._by_address[whose] += 1
        return Place(self, whose)

    def give_back(self, whose: str) -> None:
        """One of an address has gone."""
        self._taken -= 1
        self._by_address[whose] -= 1
        if not self._by_address[whose]:
            del self._by_address[whose]

    def _has_room_for(self, whose: str) -> bool:
        if not whose:
            return self._taken < self._total
        return self._taken < self._for_strangers and self._by_address[whose] < self._for_one


class Place:
    """One place that is taken; leaving it twice does no harm."""

    __slots__ = ("_is_left", "_places", "_whose")

    def __init__(self, places: Places, whose: str) -> None:
        self._places = places
        self._whose = whose
        self._is_left = False

    def leave(self) -> None:
        """Make room for another."""
        if not self._is_left:
            self._is_left = True
            self._places.give_back(self._whose)


def _whose(address: str) -> str:
    """Whose an address is: nothing for this machine, one network for all that a host may draw."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0].removeprefix(_MAPPED))
    except ValueError:
        return address
    if found.is_loopback:
        return ""
    if isinstance(found, ipaddress.IPv6Address) and not found.is_link_local:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)
