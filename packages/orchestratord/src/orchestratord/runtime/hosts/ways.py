"""How each pool and its workers are reached in the pool's present session: direct, SSH or relay.

A contact comes from a registration; a connection from the link to the host. The way of a call is
looked up when the call is made, because connections come and go.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from orchestrator_core.clients.pinned import PinnedTrust, pinned_context, pinned_transport
from orchestrator_core.clients.pool import AsyncPoolClient
from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import PoolId, WorkerId
from orchestratord.upstream.relay_road import Relay, RelayRoad
from orchestratord.upstream.road import DIRECT, Road
from orchestratord.upstream.ssh_road import SshRoad

if TYPE_CHECKING:
    from orchestrator_core.clients.ssh.connection import SshConnection

__all__ = ["PoolContact", "Way", "Ways"]

_LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class PoolContact:
    """How a pool is reached in its present session; certificate is what its TLS port must show."""

    endpoint: str
    control_key: str = field(repr=False)
    version: str
    certificate: str | None = field(default=None, repr=False)
    road: Literal["local", "ssh", "relay"] = "local"


@dataclass(frozen=True, slots=True)
class Way:
    """What leads to a pool just now: at most one of a connection to its host and its relay.

    trust is for a pool that speaks HTTPS on the loopback of its host, too.
    """

    contact: PoolContact
    connection: "SshConnection | None" = None
    relay: Relay | None = None
    trust: PinnedTrust | None = field(repr=False, default=None)

    def open_client(self) -> AsyncPoolClient:
        """Make a client of the pool's own API; whoever asks for it closes it."""
        contact, transport = self.contact, None
        if self.connection is not None:
            port = urlsplit(contact.endpoint).port or 0
            transport = self.connection.http_transport(_LOOPBACK, port, trust=self.trust)
        elif self.relay is not None:
            transport = pinned_transport(self.relay.trust)
        return AsyncPoolClient(contact.endpoint, contact.control_key, transport=transport)


class Ways:
    """The ways to all pools that have registered."""

    def __init__(
        self, connection_of: "Callable[[PoolId], SshConnection | None]" = lambda _: None
    ) -> None:
        self._connection_of = connection_of
        self._contacts: dict[PoolId, PoolContact] = {}
        self._relays: dict[PoolId, Relay | Refusal] = {}
        self._ssh_roads: dict[PoolId, SshRoad] = {}
        self._trusts: dict[PoolId, PinnedTrust | Refusal] = {}

    def meet(self, pool_id: PoolId, contact: PoolContact) -> None:
        """Take the address and the key of a new session."""
        self.forget(pool_id)
        self._contacts[pool_id] = contact
        match contact.road:
            case "relay":
                self._relays[pool_id] = _relay(pool_id, contact)
            case "ssh":
                self._ssh_roads[pool_id] = SshRoad(pool_id, lambda: self._connection_of(pool_id))
                if contact.endpoint.startswith("https:"):
                    self._trusts[pool_id] = pinned_context(contact.certificate or "")
            case "local":
                pass

    def forget(self, pool_id: PoolId) -> None:
        """Drop what is known of a pool."""
        self._contacts.pop(pool_id, None)
        self._relays.pop(pool_id, None)
        self._ssh_roads.pop(pool_id, None)
        self._trusts.pop(pool_id, None)

    def contact(self, pool_id: PoolId) -> PoolContact | None:
        """How the pool said it can be reached."""
        return self._contacts.get(pool_id)

    def way(self, pool_id: PoolId) -> Way | Refusal:
        """The present way to a pool; a refusal where there is none just now."""
        contact = self._contacts.get(pool_id)
        if contact is None:
            return Refusal(Code.POOL_NOT_FOUND, f"pool {pool_id} has not registered")
        relay, trust = self._relays.get(pool_id), self._trusts.get(pool_id)
        if isinstance(relay, Refusal):
            return relay
        if isinstance(trust, Refusal):
            return trust
        if pool_id not in self._ssh_roads:
            return Way(contact, relay=relay)
        connection = self._connection_of(pool_id)
        if connection is None:
            return Refusal(Code.UNREACHABLE, f"the ssh connection to {pool_id} is down")
        return Way(contact, connection, trust=trust)

    def road_to(self, pool_id: PoolId, worker_id: WorkerId) -> Road:
        """The road to a worker; it holds for as long as the session of its pool."""
        relay = self._relays.get(pool_id)
        if isinstance(relay, Relay):
            return RelayRoad(relay, worker_id)
        return self._ssh_roads.get(pool_id, DIRECT)


def _relay(pool_id: PoolId, contact: PoolContact) -> Relay | Refusal:
    trust = pinned_context(contact.certificate or "")
    if isinstance(trust, Refusal):
        return trust
    parts = urlsplit(contact.endpoint)
    return Relay(pool_id, (parts.hostname or "", parts.port or 0), trust, contact.control_key)
