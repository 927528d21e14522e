"""Looks host keys up in known_hosts texts, by the very name that they stand under.

The address behind a name never counts: what it meant yesterday may be another machine today.
"""

from typing import TYPE_CHECKING, Final, cast

import asyncssh

from orchestrator_core.clients.ssh.login import KnownHosts

if TYPE_CHECKING:
    from asyncssh.known_hosts import _KnownHostsResult as Found  # pyright: ignore[reportPrivateUsage]

__all__ = ["KnownKeys", "fingerprint_of", "known_name"]

_DEFAULT_PORT: Final = 22


def known_name(host: str, port: int) -> str:
    """How known_hosts spells a host."""
    return host if port == _DEFAULT_PORT else f"[{host}]:{port}"


def fingerprint_of(key: asyncssh.SSHKey) -> str:
    """What a person compares."""
    return key.get_fingerprint()


class KnownKeys:
    """The entries of all texts; lines that nobody can read are passed over, as OpenSSH does."""

    def __init__(self, known: KnownHosts) -> None:
        text = "\n".join(known.texts)
        try:
            self._entries = asyncssh.import_known_hosts(text)
        except ValueError:
            readable = filter(_is_readable, text.splitlines())
            self._entries = asyncssh.import_known_hosts("\n".join(readable))

    def find(self, host: str, _address: str, port: int | None) -> "Found":
        """What is known of a host; a name without its port stands in for one with it."""
        host_keys, ca_keys, _, *certificates = self._entries.match(host, "", port)
        revoked = self._revoked(host, port or _DEFAULT_PORT)
        return cast("Found", (host_keys, ca_keys, revoked, *certificates))

    def fingerprints(self, host: str, port: int) -> list[str]:
        """The keys that stand under exactly this name and port."""
        return [
            fingerprint_of(key) for key in self._entries.match(known_name(host, port), "", None)[0]
        ]

    def revoked(self, host: str, port: int) -> list[str]:
        """The keys that nobody may show any more under this name, with its port or without."""
        return [fingerprint_of(key) for key in self._revoked(host, port)]

    def _revoked(self, host: str, port: int) -> list[asyncssh.SSHKey]:
        # asyncssh forgets those of one spelling where keys stand under the other.
        names = dict.fromkeys((known_name(host, port), host))
        return [key for name in names for key in self._entries.match(name, "", None)[2]]


def _is_readable(line: str) -> bool:
    try:
        asyncssh.import_known_hosts(line)
    except ValueError:
        return False
    return True
