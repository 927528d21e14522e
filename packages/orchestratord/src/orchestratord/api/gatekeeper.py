"""Decides who may pass: the Host and Origin of a request, its key, and the key's scope. Pure.

Neither a loopback peer nor a forwarded header grants anything; only a key does.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.ids import KeyId
from orchestratord.api.heads import Marks
from orchestratord.routes import Scope
from orchestratord.runtime.keys.denials import Reason
from orchestratord.runtime.keys.keyring import KEY_ENDED, KeyFault, Principal

__all__ = ["Denial", "Gatekeeper", "Keys", "correlation_id_from"]

_CORRELATION: Final = re.compile(r"[a-zA-Z0-9-]{1,64}")
_INCLUDES: Final = {
    Scope.USER: frozenset({"user", "operator", "admin"}),
    Scope.OPERATOR: frozenset({"operator", "admin"}),
    Scope.ADMIN: frozenset({"admin"}),
    Scope.POOL: frozenset({"pool"}),
    Scope.METRICS: frozenset({"metrics", "operator", "admin"}),
}
# A Host field is a name or an address with its port, and nothing that a URL could hide in it.
_HOST: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{0,5})?")
_KNOWN_LIMIT: Final = 64
_ONE_EACH: Final = frozenset({b"host", b"origin"})
_KEY_FIELDS: Final = frozenset({b"authorization", b"x-api-key"})
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


_FAULTS: Final = {
    KeyFault.UNKNOWN: (Reason.UNKNOWN, "this key is not known here"),
    KeyFault.REVOKED: (Reason.REVOKED, "this key was revoked: ask an administrator for a new one"),
    KeyFault.EXPIRED: (Reason.EXPIRED, "this key has expired: ask an administrator for a new one"),
}


class Keys(Protocol):
    """Who knows the keys."""

    def find(self, token: str) -> Principal | None:
        """Look a key up."""
        ...

    def fault_of(self, token: str) -> KeyFault:
        """Say why a key opens nothing."""
        ...

    def holds(self, key_id: KeyId) -> bool:
        """Tell whether a key that was found is still valid."""
        ...


@dataclass(frozen=True, slots=True)
class Denial:
    """A caller that is turned away, and the kind of its fault."""

    reason: Reason
    refusal: Refusal


def correlation_id_from(text: str | None) -> str | None:
    """A caller's correlation id, if it is one we can echo and log safely."""
    return text if text is not None and _CORRELATION.fullmatch(text) else None


class Gatekeeper:
    """The checks that come before any handler."""

    def __init__(self, keys: Keys, allowed_hosts: Iterable[str]) -> None:
        self._keys = keys
        self._hosts = _LOOPBACK | {host.lower() for host in allowed_hosts}
        # Spellings that were let in; few differ, and no more are kept than it is worth.
        self._known: set[str] = set()

    def check_host(self, marks: Marks) -> Refusal | None:
        """Refuse names that are not ours: a rebound DNS name or another site's page."""
        host, origin = marks.host, marks.origin
        if marks.repeated and marks.repeated & _ONE_EACH:
            text = "the head names several hosts or origins: send one"
            return Refusal(Code.INVALID_REQUEST, text)
        if host not in self._known and not self._is_ours(host):
            return Refusal(
                Code.FORBIDDEN_HOST,
                f"this server does not answer for the host {host!r}: "
                "add the name to allowed_hosts if it is yours",
            )
        if origin is not None and _name_of(origin) not in self._hosts:
            return Refusal(Code.FORBIDDEN_HOST, f"pages of {origin!r} may not call this server")
        return None

    def _is_ours(self, host: str | None) -> bool:
        if host is None or not _HOST.fullmatch(host) or _name_of(f"//{host}") not in self._hosts:
            return False
        if len(self._known) < _KNOWN_LIMIT:
            self._known.add(host)
        return True

    def admit(self, scope: Scope, marks: Marks) -> Principal | Denial:
        """Find the holder of a key and check that the route is open to it."""
        if marks.has_two_tokens or (marks.repeated and marks.repeated & _KEY_FIELDS):
            message = "the head holds several keys: send one, as `Authorization: Bearer KEY`"
            return Denial(Reason.TWO_KEYS, Refusal(Code.BAD_KEY, message))
        token = marks.token
        if not token:
            refusal = Refusal(Code.NO_KEY, "send your key as `Authorization: Bearer KEY`")
            return Denial(Reason.NO_KEY, refusal)
        holder = self._keys.find(token)
        if holder is None:
            reason, message = _FAULTS[self._keys.fault_of(token)]
            return Denial(reason, Refusal(Code.BAD_KEY, message))
        if not holder.scopes & _INCLUDES[scope]:
            refusal = Refusal(Code.SCOPE, f"this needs a key with the scope {scope}")
            return Denial(Reason.SCOPE, refusal)
        return holder

    def still_admits(self, holder: Principal) -> Refusal | None:
        """Ask again, once a body has taken its time to come."""
        return None if self._keys.holds(holder.key_id) else KEY_ENDED


def _name_of(url: str) -> str | None:
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    if parts.username is not None or parts.path not in ("", "/"):
        return None
    return parts.hostname
