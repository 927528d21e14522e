"""Opens the models that a command is about: those of a named pool, else those of this host."""

import contextlib
from collections.abc import Callable, Generator

from orchestrator_core.clients.pool import PoolClient
from orchestrator_core.console.endpoints import find_url, key_for, trust_for
from orchestrator_core.console.programs import POOL_MANAGERD
from pool_ctl.pools.models.local import LocalModels
from pool_ctl.pools.models.port import ModelsPort
from pool_ctl.pools.models.remote import HttpModels
from pool_ctl.settings import CliSettings

__all__ = ["open_models"]


@contextlib.contextmanager
def open_models(
    settings: CliSettings, url: str | None, say: Callable[[str], None]
) -> Generator[ModelsPort]:
    """Open the models of a pool; `say` tells a person what is being waited for."""
    if not settings.is_named(url):
        with LocalModels(settings, say) as models:
            yield models
        return
    found = find_url(POOL_MANAGERD, flag=url, env=settings.env, layout=settings.layout)
    trust = trust_for(found, POOL_MANAGERD, env=settings.env, layout=settings.layout)
    key = key_for(found, env=settings.env, key_file=settings.layout.pool_key, trust=trust)
    with PoolClient(found, key, trust=trust) as client:
        yield HttpModels(client.models)
