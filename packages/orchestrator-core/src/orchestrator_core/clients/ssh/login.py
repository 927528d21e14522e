"""How we log in: whose keys we know, which configuration counts, with which key, how patiently."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["SSH_CONFIG_OPTIONS", "KnownHosts", "Login"]

SSH_CONFIG_OPTIONS: Final[tuple[str, ...]] = (
    "Host",
    "Match",
    "Include",
    "Hostname",
    "Port",
    "User",
    "IdentityFile",
    "IdentitiesOnly",
    "IdentityAgent",
    "CertificateFile",
    "HostKeyAlias",
    "HostKeyAlgorithms",
    "ProxyJump",
    "ProxyCommand",
    "AddressFamily",
    "BindAddress",
    "KexAlgorithms",
    "MACs",
    "PKCS11Provider",
    "RekeyLimit",
    "TCPKeepAlive",
    "Tag",
)
"""The options of ~/.ssh/config that count; all others are ignored.

Documents and help show this list. No option of a file can weaken the check of host keys, forward
an agent or change what is run.
"""


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """The contents of known_hosts files; none means that nobody is known."""

    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Login:
    """No configuration files: none counts. No client key: the user's own keys and agent."""

    known_hosts: KnownHosts
    config_files: tuple[Path, ...] = ()
    client_key: Path | None = None
    connect_timeout_s: float = 10.0
    keepalive_interval_s: float = 5.0
    keepalive_count: int = 3
