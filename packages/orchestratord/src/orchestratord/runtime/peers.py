"""Which pools serve their models to which others, and what each is told of them; pure.

The keys and certificates travel in the answers to registrations and beats, and are never stored.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from pydantic import SecretStr

from orchestrator_core.contracts.pool import Peer
from orchestrator_core.ids import PoolId

__all__ = ["PEERS_MAX", "SharingPool", "peers_for"]

PEERS_MAX: Final = 64


@dataclass(frozen=True, slots=True)
class SharingPool:
    """A pool that opens its models to others by this key, behind this certificate."""

    pool_id: PoolId
    url: str
    certificate: str = field(repr=False)
    key: SecretStr


def peers_for(pool_id: PoolId, sharing: Iterable[SharingPool]) -> tuple[Peer, ...]:
    """Every other pool that shares, in the order of their names, as many as one answer holds."""
    others = sorted((it for it in sharing if it.pool_id != pool_id), key=lambda it: it.pool_id)
    return tuple(
        Peer(pool_id=it.pool_id, url=it.url, certificate=it.certificate, key=it.key)
        for it in others[:PEERS_MAX]
    )
