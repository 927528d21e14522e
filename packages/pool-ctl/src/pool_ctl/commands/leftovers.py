"""Workers whose pool-managerd is gone: counts them, and stops them by the pool's own records."""

from collections.abc import Callable
from typing import Final

from pool_core.workers.onlooker import Onlooker
from pool_ctl.pools.local import LocalPool
from pool_ctl.settings import CliSettings

__all__ = ["count_workers", "stop_workers"]

_GRACE_S: Final = 10.0


def count_workers(settings: CliSettings) -> int:
    """How many workers of this installation live, whether or not a daemon watches them."""
    onlooker = Onlooker(settings.layout, settings.daemons().platform)
    return sum(map(onlooker.is_alive, onlooker.records()))


def stop_workers(settings: CliSettings, say: Callable[[str], None]) -> int:
    """Stop every worker that the pool's records name; tells how many."""
    if not settings.layout.pool_folder.is_dir():
        return 0
    with LocalPool(settings, say) as pool:
        return pool.stop_all(_GRACE_S)
