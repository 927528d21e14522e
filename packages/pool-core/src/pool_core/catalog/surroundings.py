"""What the acts on models take from their host; tests put in their own."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator_core.clock import Clock, SystemClock
from orchestrator_core.contracts.pool import Peer
from pool_core.fetch.room import Reserve
from pool_core.fetch.settings import HubSettings, PeerTimes

__all__ = ["Surroundings", "free_bytes_at", "no_peers"]


def free_bytes_at(folder: Path) -> int:
    """What this user may still write on the file system of a folder."""
    return shutil.disk_usage(folder).free


def no_peers() -> Sequence[Peer]:
    """Nobody: the command without a daemon knows no other pools."""
    return ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment as it was read once, clocks, and the disk."""

    env: Mapping[str, str]
    clock: Clock = field(default_factory=SystemClock)
    reserve: Reserve = field(default_factory=Reserve)
    free_bytes: Callable[[Path], int] = free_bytes_at
    pause: Callable[[float], None] = time.sleep
    peers: Callable[[], Sequence[Peer]] = no_peers
    peer_times: PeerTimes = field(default_factory=PeerTimes)

    def hub(self) -> HubSettings:
        """Where the hub is; raises for a setting that cannot be meant."""
        return HubSettings.from_env(self.env)
