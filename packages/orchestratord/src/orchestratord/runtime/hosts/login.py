"""Logs in at an enrolled host: with our own key, and only where the host shows a key we know."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from orchestrator_core.errors import Refusal
from orchestratord.store.rows import PoolRow

if TYPE_CHECKING:
    from orchestrator_core.clients.ssh.connection import SshConnection

__all__ = ["log_in"]

_SSH_PORT: Final = 22
_CONNECT_TIMEOUT_S: Final = 10.0
# A dead host is noticed after interval x (count + 1): 12 s, before its pool counts as suspect, and
# late enough for a host that is only busy.
_KEEPALIVE_INTERVAL_S: Final = 3.0
_KEEPALIVE_COUNT: Final = 3


async def log_in(row: PoolRow, key_file: Path) -> "SshConnection | Refusal":
    """Connect to the host of this enrolment; no configuration and no key of a person counts."""
    # Whoever has no host to reach never loads any of it.
    from orchestrator_core.clients.ssh.connection import Login, connect
    from orchestrator_core.clients.ssh.destination import read_destination
    from orchestrator_core.clients.ssh.host_keys import KnownHosts, entry_for

    destination = read_destination(row.endpoint or "")
    if isinstance(destination, Refusal):
        return destination
    port = destination.port or _SSH_PORT
    known = "".join(
        f"{entry_for(destination.host, port, line).rstrip()}\n" for line in row.host_keys
    )
    login = Login(
        known_hosts=KnownHosts((known,)),
        client_key=key_file,
        connect_timeout_s=_CONNECT_TIMEOUT_S,
        keepalive_interval_s=_KEEPALIVE_INTERVAL_S,
        keepalive_count=_KEEPALIVE_COUNT,
    )
    return await connect(destination, login)
