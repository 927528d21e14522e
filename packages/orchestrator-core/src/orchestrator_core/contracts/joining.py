"""How a host becomes a pool of an orchestrator: tokens, requests to join, enrolments.

A host that can reach the orchestrator shows a one-time token to it and gets its key. A host that
only SSH reaches holds the token, and the orchestrator shows it there through the tunnel.
"""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, StringConstraints, field_serializer

from orchestrator_core.contracts.base import Fact, Order
from orchestrator_core.contracts.pool import PoolName

__all__ = [
    "JoinRequest",
    "JoinToken",
    "JoinTokenOrder",
    "Joined",
    "PoolEnrolment",
    "PoolOrder",
    "SshIdentity",
    "TokenText",
]

TokenText = Annotated[SecretStr, Field(min_length=16, max_length=256)]
HostKeyText = Annotated[str, StringConstraints(min_length=16, max_length=2048)]
"""One host key as known_hosts spells it behind the names: `ssh-ed25519 AAAA...`."""

CertificateText = Annotated[str, StringConstraints(min_length=1, max_length=16_384)]
EndpointText = Annotated[str, StringConstraints(min_length=1, max_length=300)]


class JoinTokenOrder(Order):
    """A token that lets one host join under this name, once, within this time."""

    pool_id: PoolName
    expires_in_s: Annotated[int, Field(ge=60, le=7 * 86_400)] = 3600


class JoinToken(Fact):
    """A fresh token, shown this once."""

    pool_id: str
    token: SecretStr
    expires_at: str

    @field_serializer("token")
    def _tell_once(self, token: SecretStr) -> str:
        return token.get_secret_value()


class JoinRequest(Order):
    """A host asks to become a pool; certificate is what its TLS port will show, in PEM form."""

    token: TokenText
    pool_id: PoolName
    endpoint: EndpointText
    version: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    certificate: CertificateText | None = None

    @field_serializer("token", when_used="json")
    def _reveal(self, token: SecretStr) -> str:
        return token.get_secret_value()


class Joined(Fact):
    """The credential of one pool, told once.

    The pool registers with it; where only SSH is open, it opens the pool to its orchestrator.
    """

    pool_id: str
    key: SecretStr

    @field_serializer("key")
    def _tell_once(self, key: SecretStr) -> str:
        return key.get_secret_value()


class PoolOrder(Order):
    """A host that the orchestrator reaches by itself: `ssh://USER@HOST:PORT` and its host keys.

    token is the one-time token that lies on the host already; the orchestrator shows it there.
    daemon_port is where pool-managerd listens on that host's loopback.
    """

    pool_id: PoolName
    endpoint: EndpointText
    host_keys: Annotated[tuple[HostKeyText, ...], Field(min_length=1, max_length=16)]
    token: TokenText
    daemon_port: Annotated[int, Field(ge=1, le=65_535)] = 9200

    @field_serializer("token", when_used="json")
    def _reveal(self, token: SecretStr) -> str:
        return token.get_secret_value()


class PoolEnrolment(Fact):
    """How a pool is reached, without any secret; reason says what a person must do, if anything."""

    pool_id: str
    road: Literal["local", "ssh", "relay"]
    endpoint: str | None = None
    joined: bool
    declared: bool = False
    certificate_sha256: str | None = None
    link: Literal["up", "connecting", "needs_attention"] | None = None
    reason: str | None = None
    created_at: str


class SshIdentity(Fact):
    """The public key by which the orchestrator logs in at its hosts."""

    public_key: str
    fingerprint: str
