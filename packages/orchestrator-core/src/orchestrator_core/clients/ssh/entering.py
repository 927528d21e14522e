"""Logs in at a host, through the hosts in front of it, each checked by the same known_hosts.

asyncssh would check a ProxyJump of the configuration by other files than ours, so every hop is
opened here.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakValueDictionary

import asyncssh

from orchestrator_core.clients.ssh.client_keys import DEFAULT_KEY_NAMES, locked_among
from orchestrator_core.clients.ssh.destination import Destination
from orchestrator_core.clients.ssh.known_keys import KnownKeys
from orchestrator_core.clients.ssh.login import Login
from orchestrator_core.clients.ssh.refusals import Attempt, refusal_of
from orchestrator_core.clients.ssh.target import Target, read_target
from orchestrator_core.errors import Code, Refusal

__all__ = ["Entered", "Watcher", "enter", "enter_in_front"]

_JUMPS_MAX: Final = 8
# A server lets only a few strangers in at a time and drops others at random (MaxStartups).
_LOGINS_MAX: Final = 4
_TRIES: Final = 5
_PAUSE_S: Final = 0.3
# The kinds that are known of a host come first; any other it may have shows that its key changed.
_HOST_KEYS: Final = (
    "+ssh-ed25519,ecdsa-sha2-nistp256,ecdsa-sha2-nistp384,ecdsa-sha2-nistp521,"
    "rsa-sha2-512,rsa-sha2-256"
)
# AES in hardware costs half of what the default cipher costs per chunk of a stream.
_CIPHERS: Final = "^aes128-gcm@openssh.com"

_Connection = asyncssh.SSHClientConnection
# How many logins are under way at each host; an entry lives as long as somebody logs in there.
_turns: Final[
    WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[str, asyncio.Semaphore]]
] = WeakKeyDictionary()

# One line per channel would stand in every log, and each write would ask whether it should.
asyncssh.set_log_level("WARNING")
# A program without a log of its own would print what a ProxyCommand that ends at once makes these
# two say; a log that is set up hears it all the same.
for _name in ("asyncio", "asyncssh"):
    logging.getLogger(_name).addHandler(logging.NullHandler())


class Watcher(asyncssh.SSHClient):
    """Remembers what a connection meets: a key that nobody knows, and its end."""

    def __init__(self) -> None:
        self.unknown_key: asyncssh.SSHKey | None = None
        self.greeted = False
        self.lost: Exception | None = None
        self.closed = asyncio.Event()

    def validate_host_public_key(
        self,
        host: str,  # noqa: ARG002 - asyncssh's signature.
        addr: str,  # noqa: ARG002
        port: int,  # noqa: ARG002
        key: asyncssh.SSHKey,
    ) -> bool:
        """Called for a key that known_hosts does not hold; no such key is ever accepted."""
        self.unknown_key = key
        return False

    def begin_auth(self, username: str) -> None:  # noqa: ARG002
        """The host is the right one."""
        self.greeted = True

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self.lost = exc
        self.closed.set()


@dataclass(frozen=True, slots=True)
class Entered:
    """An open connection, and those that it goes through, the nearest host first."""

    connection: _Connection
    watcher: Watcher
    jumps: tuple[_Connection, ...] = ()


async def enter(
    destination: Destination,
    login: Login,
    *,
    name: str | None = None,
    jitter: Callable[[], float] = random.random,
) -> Entered | Refusal:
    """Log in, or say why not; nothing of a way that failed is left open.

    name is what messages call the host; `llorch host trust` must know it as well.
    """
    walk = _Walk(login, KnownKeys(login.known_hosts), jitter)
    try:
        async with _turn_at(destination.host), asyncio.timeout(login.connect_timeout_s):
            entered = await walk.to(destination, None, name=name)
    except TimeoutError as error:
        attempt = Attempt(name or destination.place, timeout_s=login.connect_timeout_s)
        entered = refusal_of(walk.lost or error, walk.attempt or attempt)
    except BaseException:
        walk.end()
        raise
    if isinstance(entered, Refusal):
        walk.end()
    return entered


async def enter_in_front(
    target: Target, login: Login, *, jitter: Callable[[], float] = random.random
) -> Entered | Refusal | None:
    """Log in at the last host in front of a target; None when nothing stands there."""
    walk = _Walk(login, KnownKeys(login.known_hosts), jitter)
    try:
        async with asyncio.timeout(login.connect_timeout_s):
            return await walk.through(target.jumps)
    except TimeoutError as error:
        walk.end()
        attempt = Attempt(target.host, timeout_s=login.connect_timeout_s)
        return refusal_of(walk.lost or error, walk.attempt or attempt)
    except BaseException:
        walk.end()
        raise


def _turn_at(host: str) -> asyncio.Semaphore:
    turns = _turns.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    return turns.setdefault(host, asyncio.Semaphore(_LOGINS_MAX))


@dataclass(slots=True)
class _Walk:
    """One way to a host; what was opened on it is ended with it when it leads nowhere."""

    login: Login
    known: KnownKeys
    jitter: Callable[[], float]
    hops: list[_Connection] = field(default_factory=list[_Connection])
    underway: list[str] = field(default_factory=list[str])
    attempt: Attempt | None = None
    lost: Exception | None = None
    """What ended the last try, while we wait to try again."""

    def end(self) -> None:
        """Drop every hop, the farthest first."""
        while self.hops:
            self.hops.pop().abort()

    async def to(
        self, destination: Destination, via: _Connection | None, *, name: str | None = None
    ) -> Entered | Refusal:
        """Log in at a destination, through what its configuration puts in front of it."""
        target = read_target(destination, self.login.config_files)
        if isinstance(target, Refusal):
            return target
        # `Host *` with a ProxyJump means the jump host as well, which stands in front of itself.
        jumps = tuple(jump for jump in target.jumps if jump.host != destination.host)
        if via is None and jumps:
            self.underway.append(destination.host)
            entered = await self.through(jumps)
            self.underway.pop()
            if isinstance(entered, Refusal):
                return entered
            via = entered.connection if entered else None
        self.attempt = Attempt(
            name=name or destination.place,
            place=f"{target.host}:{target.port}",
            user=target.user,
            known=tuple(self.known.fingerprints(target.known_as, target.port)),
            timeout_s=self.login.connect_timeout_s,
        )
        return await self._knock(destination, target, via)

    async def through(self, jumps: tuple[Destination, ...]) -> Entered | Refusal | None:
        """Log in at one host after the other."""
        entered: Entered | None = None
        for jump in jumps:
            if jump.host in self.underway:
                line = f"ProxyJump in ~/.ssh/config leads through {jump.host} in a circle"
                return Refusal(Code.CONFIG_INVALID, line)
            if len(self.hops) + len(self.underway) > _JUMPS_MAX:
                line = f"ProxyJump in ~/.ssh/config leads through more than {_JUMPS_MAX} hosts"
                return Refusal(Code.CONFIG_INVALID, line)
            found = await self.to(jump, entered.connection if entered else None)
            if isinstance(found, Refusal):
                return found
            entered = found
        return entered

    async def _knock(
        self, destination: Destination, target: Target, via: _Connection | None
    ) -> Entered | Refusal:
        for tries in range(_TRIES):
            watcher = Watcher()
            try:
                options = self._options(destination, target, watcher)
                connection = await asyncssh.connect(destination.host, tunnel=via, **options)
            except (asyncssh.ConnectionLost, ConnectionResetError) as error:
                if tries + 1 == _TRIES or watcher.greeted or watcher.unknown_key:
                    return self._refusal(error, watcher, target)
                self.lost = error
                await asyncio.sleep(_PAUSE_S * 2**tries * (0.5 + self.jitter()))
                self.lost = None
            except (OSError, ValueError, asyncssh.Error) as error:
                return self._refusal(error, watcher, target)
            else:
                self.hops.append(connection)
                return Entered(connection, watcher, tuple(self.hops[:-1]))
        raise AssertionError("the last try returns")

    def _options(
        self, destination: Destination, target: Target, watcher: Watcher
    ) -> dict[str, Any]:
        login = self.login
        options: dict[str, Any] = {
            "server_host_key_algs": () if target.names_host_keys else _HOST_KEYS,
            "config": [str(path) for path in login.config_files] or None,
            "port": destination.port or (),
            "username": destination.user or (),
            "client_factory": lambda: watcher,
            "known_hosts": self.known.find,
            "encryption_algs": _CIPHERS,
            # The clock around the whole walk decides, whatever a file says.
            "connect_timeout": None,
            "login_timeout": login.connect_timeout_s + 60,
            "keepalive_interval": login.keepalive_interval_s,
            "keepalive_count_max": login.keepalive_count,
            "canonicalize_hostname": False,
            "x509_trusted_certs": None,
            "preferred_auth": "publickey",
            "gss_host": None,
            "gss_auth": False,
            "gss_kex": False,
            "agent_forwarding": False,
            "x11_forwarding": False,
            "command": None,
            "request_pty": False,
            "env": None,
            "send_env": None,
            "encoding": None,
        }
        if login.client_key is not None:
            return options | {"client_keys": [str(login.client_key)], "agent_path": None}
        if target.names_keys:
            # Files that are named and missing are passed over, as OpenSSH does.
            options["client_keys"] = [str(path) for path in target.key_files]
            options["ignore_encrypted"] = True
        return options

    def _refusal(self, error: Exception, watcher: Watcher, target: Target) -> Refusal:
        attempt = self.attempt or Attempt(target.host)
        if watcher.unknown_key is not None:
            attempt = replace(attempt, shown=watcher.unknown_key.get_fingerprint())
        if isinstance(error, asyncssh.PermissionDenied) and self.login.client_key is None:
            folder = Path("~/.ssh").expanduser()
            files = target.key_files or tuple(folder / name for name in DEFAULT_KEY_NAMES)
            attempt = replace(attempt, locked_keys=locked_among(files))
        return refusal_of(error, attempt)
