"""What the orchestrator must know to reach a host by itself: address, login and host keys.

It reads no ssh configuration, so an alias is resolved here; and it is told only those keys that
this user trusts already.
"""

from dataclasses import dataclass

from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.clients.ssh.host_keys import fetch_host_keys
from orchestrator_core.clients.ssh.known_keys import KnownKeys
from orchestrator_core.clients.ssh.login import Login
from orchestrator_core.clients.ssh.target import read_target
from orchestrator_core.errors import Code, Refusal

__all__ = ["Reach", "find_reach"]


@dataclass(frozen=True, slots=True)
class Reach:
    """Where the orchestrator logs in, and by which keys it knows the host."""

    endpoint: str
    host_keys: tuple[str, ...]


async def find_reach(
    name: str, destination: Destination, login: Login, *, given: Destination | None = None
) -> Reach | Refusal:
    """Resolve a destination; given is what the orchestrator shall use instead of it."""
    target = read_target(destination, login.config_files)
    if isinstance(target, Refusal):
        return target
    if target.jumps and given is None:
        line = (
            f"{name} is reached through {target.jumps[-1]}, and the orchestrator goes straight: "
            "name an address that it can reach with --endpoint, or take --direct or --no-join"
        )
        return Refusal(Code.INVALID_REQUEST, line)
    trusted = set(KnownKeys(login.known_hosts).fingerprints(target.known_as, target.port))
    shown = await fetch_host_keys(destination, config=login.config_files, login=login, name=name)
    if isinstance(shown, Refusal):
        return shown
    lines = tuple(key.line for key in shown if key.fingerprint in trusted)
    if not lines:
        line = f"the host key of {name} is not known: compare it and run: llorch host trust {name}"
        return Refusal(Code.HOST_KEY_UNKNOWN, line)
    seen = Destination(target.host, target.user, target.port)
    return Reach(_told(given, seen).endpoint, lines)


def _told(given: Destination | None, seen: Destination) -> Destination:
    if given is None:
        return seen
    return Destination(given.host, given.user or seen.user, given.port or seen.port)
