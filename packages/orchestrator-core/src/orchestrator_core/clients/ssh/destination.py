"""Reads what a person wrote as an SSH destination, strictly: [USER@]HOST[:PORT] or an ssh:// URL."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["Destination", "read_destination"]

_HOST: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", re.ASCII)
_USER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_PORT: Final = re.compile(r"[0-9]{1,5}", re.ASCII)
_SCHEME: Final = "ssh://"
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a person wants to go; host may be an alias of ~/.ssh/config."""

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        if self.port is None:
            return f"{user}{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{user}{host}:{self.port}"

    @property
    def place(self) -> str:
        """Which host it is, whoever goes there: the destination without its user."""
        return str(Destination(self.host, None, self.port))

    @property
    def endpoint(self) -> str:
        """The same as a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port is not None else ""
        return f"{_SCHEME}{user}{host}{port}"


def read_destination(text: str) -> Destination | Refusal:
    """Read a destination; whatever could be an option, a command or two names is refused."""
    rest = text.removeprefix(_SCHEME)
    user: str | None = None
    if "@" in rest:
        user, rest = rest.split("@", 1)
        if not _USER.fullmatch(user):
            return _refusal(text, "its user is no plain name")
    parts = _host_and_port(rest)
    if parts is None:
        return _refusal(text, "its host is no plain name and no IP address")
    host, port = parts
    if port is None:
        return Destination(host, user)
    if not _PORT.fullmatch(port) or not 0 < int(port) < 65536:
        return _refusal(text, "its port is no number from 1 to 65535")
    return Destination(host, user, int(port))


def _host_and_port(text: str) -> tuple[str, str | None] | None:
    if text.startswith("["):
        inside, closed, after = text[1:].partition("]")
        if not closed or not _is_ipv6(inside) or after[:1] not in ("", ":"):
            return None
        return inside, after[1:] if after else None
    if text.count(":") > 1:
        return (text, None) if _is_ipv6(text) else None
    host, colon, port = text.partition(":")
    return (host, port if colon else None) if _HOST.fullmatch(host) else None


def _is_ipv6(text: str) -> bool:
    # A zone (fe80::1%eth0) may hold any text, so none is taken.
    try:
        return "%" not in text and bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


def _refusal(text: str, why: str) -> Refusal:
    shown = ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "...")
    line = f"{shown} is no SSH destination: {why}; write [USER@]HOST[:PORT]"
    return Refusal(Code.INVALID_REQUEST, line)
