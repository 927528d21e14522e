"""What a destination means once ~/.ssh/config has been read: names, port, jumps and keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import asyncssh

from orchestrator_core.clients.ssh.destination import Destination, read_destination
from orchestrator_core.errors import Code, Refusal

__all__ = ["Target", "read_target"]

_NOBODY: Final = b"\n"
_PORT_MAX: Final = 65_535
_KEY_BYTES_MAX: Final = 65_536


@dataclass(frozen=True, slots=True)
class Target:
    """Where the bytes go: known_as is the name that known_hosts is asked for."""

    host: str
    port: int
    user: str
    known_as: str
    jumps: tuple[Destination, ...] = ()
    key_files: tuple[Path, ...] = ()
    names_keys: bool = False
    """True when the configuration names key files, whether they can be used or not."""
    names_host_keys: bool = False
    """True when the configuration says which kinds of host keys are taken."""


def read_target(destination: Destination, config: Sequence[Path]) -> Target | Refusal:
    """Read the configuration for one destination."""
    try:
        options = asyncssh.SSHClientConnectionOptions(
            config=[str(path) for path in config] or None,
            host=destination.host,
            port=destination.port or (),
            username=destination.user or (),
            # Neither is read here: a key file that is missing must not end the reading.
            known_hosts=_NOBODY,
            client_keys=None,
            x509_trusted_certs=None,
            gss_auth=False,
            gss_kex=False,
        )
        named = cast("list[str]", options.config.get("IdentityFile", []))
        files = [Path(name).expanduser() for name in named]
        takes_public = bool(options.config.get("IdentitiesOnly"))
    except (ValueError, OSError, asyncssh.Error, RuntimeError) as error:
        line = f"~/.ssh/config cannot be used for {destination.host}: {_first_line(error)}"
        return Refusal(Code.CONFIG_INVALID, line)
    if not 0 < options.port <= _PORT_MAX:
        line = f"~/.ssh/config cannot be used for {destination.host}: {options.port} is no port"
        return Refusal(Code.CONFIG_INVALID, line)
    jumps = _jumps(options.tunnel)
    if isinstance(jumps, Refusal):
        return jumps
    return Target(
        host=options.host,
        port=options.port,
        user=options.username,
        known_as=options.host_key_alias or options.host,
        jumps=jumps,
        key_files=tuple(path for path in files if _is_key(path, takes_public=takes_public)),
        names_keys=bool(files),
        names_host_keys=bool(options.config.get("HostKeyAlgorithms")),
    )


def _is_key(path: Path, *, takes_public: bool) -> bool:
    """Whether a file can be used; the public half of a key that an agent holds is no key of ours.

    Only IdentitiesOnly gives it a meaning: it then says which key of the agent is used.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_KEY_BYTES_MAX)
    except OSError:
        return False
    return b"PRIVATE KEY-----" in data or (takes_public and path.suffix == ".pub")


def _jumps(tunnel: object) -> tuple[Destination, ...] | Refusal:
    if not isinstance(tunnel, str):
        return ()
    jumps: list[Destination] = []
    for word in tunnel.split(","):
        jump = read_destination(word.strip())
        if isinstance(jump, Refusal):
            return Refusal(Code.CONFIG_INVALID, f"ProxyJump in ~/.ssh/config: {jump.message}")
        jumps.append(jump)
    return tuple(jumps)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
