"""The orchestrator that a host is about to join: its address and how it is known; pure."""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from orchestrator_core.clients.trust import Trust
from orchestrator_core.errors import Code, Refusal

__all__ = ["Hub", "read_sha256"]

_SHA256: Final = re.compile(r"(?:sha256:)?((?:[0-9a-fA-F]{2}:?){32})")


@dataclass(frozen=True, slots=True)
class Hub:
    """Its address, and whose certificate counts there."""

    url: str
    trust: Trust | None = None

    @property
    def host(self) -> str:
        """The host of its address."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port of its address."""
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    @property
    def is_encrypted(self) -> bool:
        """True for HTTPS."""
        return self.url.startswith("https:")

    @property
    def is_here(self) -> bool:
        """True when it is on loopback of this very machine."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def read_sha256(text: str) -> str | Refusal:
    """A fingerprint as people copy it: 64 hex digits, perhaps with colons or sha256: before."""
    found = _SHA256.fullmatch(text.strip())
    if found is None:
        return Refusal(Code.INVALID_REQUEST, "--ca-sha256 wants 64 hex digits")
    return found[1].replace(":", "").lower()
