"""Opens this host's models to the other pools of its orchestrator, where its operator wants it.

The key is drawn anew with every start and lives in memory alone: the orchestrator hands it on.
"""

import secrets
from typing import Final

import structlog
from pydantic import SecretStr

from orchestrator_core.daemon.program import Site
from pool_core.catalog.library import Library
from pool_managerd.runtime.announcer import Sharing
from pool_managerd.runtime.keyring import Keyring
from pool_managerd.runtime.outgoing import Outgoing
from pool_managerd.runtime.peers import PeerBook
from pool_managerd.settings import PoolSettings

__all__ = ["open_sharing"]

_KEY_BYTES: Final = 32

_log: Final = structlog.stdlib.get_logger()


def open_sharing(
    site: Site[PoolSettings], keyring: Keyring, library: Library, book: PeerBook
) -> tuple[Sharing, Outgoing | None]:
    """What the orchestrator is told of it and hears back, and what other pools may copy."""
    if not site.settings.share_models:
        return Sharing(hear=book.learn), None
    if site.tls is None:
        _log.warning(
            "models.not_shared",
            reason="share_models is set, but the API speaks plain HTTP",
            hint="set tls = true, or bind an address that other hosts reach",
        )
        return Sharing(hear=book.learn), None
    key = secrets.token_hex(_KEY_BYTES)
    keyring.admit_peers(key)
    return Sharing(SecretStr(key), book.learn), Outgoing(library.shared_models())
