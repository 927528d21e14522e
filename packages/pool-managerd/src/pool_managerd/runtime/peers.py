"""The other pools that serve their models to this one, as the orchestrator told them last.

Their keys and certificates stay in memory: a daemon that starts learns them anew.
"""

from collections.abc import Sequence

from orchestrator_core.contracts.pool import Peer

__all__ = ["PeerBook"]


class PeerBook:
    """Learns on the loop and is read by the threads that download."""

    def __init__(self, own_pool_id: str) -> None:
        self._own_pool_id = own_pool_id
        self._peers: tuple[Peer, ...] = ()

    def learn(self, peers: Sequence[Peer]) -> None:
        """Replace what was known; a pool that is not told any more is asked no more."""
        self._peers = tuple(peer for peer in peers if peer.pool_id != self._own_pool_id)

    def known(self) -> tuple[Peer, ...]:
        """All of them."""
        return self._peers
