"""The road to workers of a host that only SSH reaches: channels of the one connection to it.

The connection is made and kept up by whoever holds the link to the host; here it is only used.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from orchestratord.upstream.request import Address
from orchestratord.upstream.road import RoadDownError

__all__ = ["Dialer", "SshRoad"]


class Dialer(Protocol):
    """An open SSH connection, as far as a road needs it."""

    async def dial(self, make: Callable[[], asyncio.Protocol], host: str, port: int) -> None:
        """Connect a protocol to an address as the host sees it.

        ConnectionRefusedError where the host does not get there, other OSErrors where the
        connection to the host is what fails.
        """
        ...


class SshRoad:
    """The way over whatever connection to the host is open at the moment."""

    name = "ssh"

    def __init__(self, host_name: str, present: Callable[[], Dialer | None]) -> None:
        self._host_name = host_name
        self._present = present

    async def connect(self, make: Callable[[], asyncio.Protocol], address: Address) -> None:
        """Open a channel; RoadDownError where there is no connection, or none any more."""
        dialer = self._present()
        if dialer is None:
            raise self._down()
        try:
            await dialer.dial(make, *address)
        except ConnectionRefusedError:
            if self._present() is not dialer:
                raise self._down() from None
            raise
        except OSError as error:
            raise self._down() from error

    def _down(self) -> RoadDownError:
        return RoadDownError(f"the ssh connection to {self._host_name} is down")
