"""Opens the pool that a command is about: the one that a person named, else that of this host."""

import contextlib
from collections.abc import Callable, Generator

from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.console.endpoints import find_url, key_for, trust_for
from orchestrator_core.console.programs import POOL_MANAGERD
from pool_ctl.pools.local import LocalPool
from pool_ctl.pools.port import PoolPort
from pool_ctl.pools.remote import HttpPool
from pool_ctl.settings import CliSettings

__all__ = ["open_pool"]


@contextlib.contextmanager
def open_pool(
    settings: CliSettings, url: str | None, say: Callable[[str], None]
) -> Generator[PoolPort]:
    """Open a pool; `say` tells a person what is being waited for."""
    if not settings.is_named(url):
        with LocalPool(settings, say) as pool:
            yield pool
        return
    found = find_url(POOL_MANAGERD, flag=url, env=settings.env, layout=settings.layout)
    trust = trust_for(found, POOL_MANAGERD, env=settings.env, layout=settings.layout)
    key = key_for(found, env=settings.env, key_file=settings.layout.pool_key, trust=trust)
    with PoolClient(found, key, trust=trust) as client:
        yield HttpPool(client)
