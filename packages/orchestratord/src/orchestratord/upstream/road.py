"""The port by which bytes reach a worker, and the plain road of it: a connection from here.

A road connects an asyncio protocol to an address as the worker's host sees it. What runs over it
cannot tell the roads apart: same calls, same order, failures to connect are OSErrors.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from orchestratord.upstream.request import Address

__all__ = ["DIRECT", "DirectRoad", "Road", "RoadDownError"]


class RoadDownError(OSError):
    """The way to the host is down; what becomes of the worker is not known."""


class Road(Protocol):
    """One way to one worker."""

    @property
    def name(self) -> str:
        """What a person calls it: direct, ssh or relay."""
        ...

    async def connect(self, make: Callable[[], asyncio.Protocol], address: Address) -> None:
        """Connect a new protocol; returns once `connection_made` was called, or raises OSError."""
        ...


class DirectRoad:
    """For workers of this machine, and for engines that this machine reaches by itself."""

    name = "direct"

    async def connect(self, make: Callable[[], asyncio.Protocol], address: Address) -> None:
        """Open a socket."""
        host, port = address
        await asyncio.get_running_loop().create_connection(make, host, port)


DIRECT: Final = DirectRoad()
