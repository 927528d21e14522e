"""Where the bytes of one file come from: the shapes of a source, and the hub as one of them."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, Protocol

from pool_core.fetch.errand import Stop
from pool_core.fetch.web import Web

__all__ = ["HUB", "Body", "HubSource", "Source", "Wanted"]

HUB: Final = "hub"


class Wanted(Protocol):
    """A file of a hub; without a hash only its size and version are held against it."""

    @property
    def path(self) -> str:
        """Its path inside the repository, for people."""
        ...

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        ...

    @property
    def sha256(self) -> str | None:
        """What its bytes hash to."""
        ...

    @property
    def url(self) -> str:
        """Where the hub offers it."""
        ...


class Body(Protocol):
    """An answer whose bytes are still to come."""

    status: int
    headers: Mapping[str, str]
    hub_headers: Mapping[str, str]
    hops: int

    @property
    def host(self) -> str:
        """Who answers."""
        ...

    def chunks(self) -> Iterator[bytes]:
        """The bytes as they come; raises PeerError."""
        ...


class Source(Protocol):
    """Somebody who sends files."""

    @property
    def name(self) -> str:
        """Who it is, as reports say it."""
        ...

    @property
    def note(self) -> str | None:
        """What a person is told while it sends."""
        ...

    def stream(
        self, file: Wanted, *, start: int, if_range: str | None, stop: Stop
    ) -> AbstractContextManager[Body]:
        """Ask for the bytes from start on; raises PeerError, and CANCELLED after stop says so."""
        ...


@dataclass(frozen=True, slots=True)
class HubSource:
    """The hub, at the address that its listing names."""

    web: Web
    name: str = HUB
    note: str | None = None

    def stream(
        self, file: Wanted, *, start: int, if_range: str | None, stop: Stop
    ) -> AbstractContextManager[Body]:
        """Ask the hub, or whoever it sends us to."""
        return self.web.stream(file.url, start=start, if_range=if_range, stop=stop)
