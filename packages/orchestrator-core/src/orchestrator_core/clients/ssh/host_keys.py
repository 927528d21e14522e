"""The keys that a host shows before any login, and the line of known_hosts for one of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncssh

from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.clients.ssh.entering import Entered, enter_in_front
from orchestrator_core.clients.ssh.known_keys import known_name
from orchestrator_core.clients.ssh.login import KnownHosts, Login
from orchestrator_core.clients.ssh.refusals import Attempt, refusal_of
from orchestrator_core.clients.ssh.target import Target, read_target
from orchestrator_core.errors import Refusal

__all__ = ["HostKey", "KnownHosts", "entry_for", "fetch_host_keys"]

# A server shows the one key that fits what we ask for, so each kind is asked for by itself.
_KINDS: Final = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521",
    "rsa-sha2-512,rsa-sha2-256",
)


@dataclass(frozen=True, slots=True)
class HostKey:
    """One key that a host shows: its public line, its fingerprint, its kind.

    entry is the whole line of known_hosts under which `connect` looks for this host.
    """

    line: str
    fingerprint: str
    kind: str
    entry: str = ""


def entry_for(destination_host: str, port: int, key_line: str) -> str:
    """One line of a known_hosts file; a comment behind the key is left out."""
    kind, key = key_line.split()[:2]
    return f"{known_name(destination_host, port)} {kind} {key}"


async def fetch_host_keys(
    destination: Destination,
    *,
    config: Sequence[Path] = (),
    timeout_s: float = 10.0,
    login: Login | None = None,
    name: str | None = None,
) -> list[HostKey] | Refusal:
    """Ask a host for its keys without logging in there; name is what messages call it.

    Hosts in front of it (ProxyJump) do need a login; without one they are refused.
    """
    target = read_target(destination, config)
    if isinstance(target, Refusal):
        return target
    place = f"{target.host}:{target.port}"
    attempt = Attempt(name or destination.place, place=place, timeout_s=timeout_s)
    front: Entered | Refusal | None = None
    if target.jumps:
        known_login = login or Login(KnownHosts(), tuple(config), connect_timeout_s=timeout_s)
        front = await enter_in_front(target, known_login)
        if isinstance(front, Refusal):
            return front
    try:
        async with asyncio.timeout(timeout_s):
            return await _ask(destination, target, config, front)
    except (OSError, ValueError, asyncssh.Error) as error:
        return refusal_of(error, attempt)
    finally:
        if front is not None:
            for connection in (front.connection, *reversed(front.jumps)):
                connection.abort()


async def _ask(
    destination: Destination, target: Target, config: Sequence[Path], front: Entered | None
) -> list[HostKey]:
    keys: list[HostKey] = []
    lost: Exception | None = None
    for kind in _KINDS:
        try:
            key = await asyncssh.get_server_host_key(
                destination.host,
                destination.port or (),
                tunnel=front.connection if front else None,
                config=[str(path) for path in config] or None,
                server_host_key_algs=kind,
            )
        except (asyncssh.KeyExchangeFailed, asyncssh.ConnectionLost, ConnectionResetError) as error:
            # Servers without a key of this kind say so, or just leave.
            lost = error
            continue
        if key is not None:
            keys.append(_host_key(key, target))
    if not keys:
        raise lost or ConnectionResetError
    return keys


def _host_key(key: asyncssh.SSHKey, target: Target) -> HostKey:
    line = " ".join(key.export_public_key().decode("ascii").split()[:2])
    # HostKeyAlias stands for host and port together.
    port = 22 if target.known_as != target.host else target.port
    entry = entry_for(target.known_as, port, line)
    return HostKey(line, key.get_fingerprint(), key.get_algorithm(), entry)
