"""Decides who may call: the key against the route's scope, the names against a rebinding page."""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from orchestrator_core.errors import Code, Refusal
from pool_managerd.routes import Scope
from pool_managerd.runtime.keyring import Caller, Keyring

__all__ = ["HostGuard", "KeyGuard"]

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_WILDCARDS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with, never bound
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[^\[\]:/@\s]+))(?::\d{1,5})?")


_OPENS: Final = {
    Scope.OPERATOR: {Caller.OPERATOR},
    Scope.CONTROL: {Caller.OPERATOR, Caller.ORCHESTRATOR},
    Scope.JOINED: {Caller.JOINED},
    Scope.PEER: {Caller.OPERATOR, Caller.PEER},
}
_CLOSED: Final = {
    Scope.OPERATOR: "only the operator's key of this pool may do this",
    Scope.CONTROL: "only the operator's key or that of the orchestrator's session may do this",
    Scope.JOINED: "only the orchestrator that this host has joined through SSH may do this",
    Scope.PEER: "only another pool of the same orchestrator may do this",
}


class KeyGuard:
    """Holds a call's key against the scope of its route."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def check(self, scope: Scope, authorization: str | None) -> Caller | Refusal | None:
        """Whose call may go on; None is anyone, whom an open route lets in without a look."""
        if scope is Scope.OPEN:
            return None
        if not authorization:
            return Refusal(Code.NO_KEY, "a key is needed: send Authorization: Bearer KEY")
        scheme, _, key = authorization.partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return Refusal(Code.NO_KEY, "the key must be sent as Authorization: Bearer KEY")
        caller = self._keyring.identify(key.strip())
        if caller is None:
            return Refusal(Code.BAD_KEY, "this key does not open this pool")
        if caller not in _OPENS[scope]:
            return Refusal(Code.SCOPE, _CLOSED[scope])
        return caller


class HostGuard:
    """Accepts only names of this machine, so that no web page can point a browser at us.

    Such a page needs a name that leads to us. Where we listen on every address, a caller may write
    any address instead of a name: it is the one by which it has reached us.
    """

    def __init__(self, bind_host: str, hostname: str, extra: Iterable[str] = ()) -> None:
        self._has_every_address = bind_host in _WILDCARDS
        names = {bind_host, hostname, f"{hostname}.local", *extra} - _WILDCARDS
        self._names = _LOOPBACK | {name.lower() for name in names}

    def check(self, hosts: list[str], origin: str | None) -> Refusal | None:
        """Check the Host headers of a call (exactly one is right) and its Origin, if any."""
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            shown = hosts[0] if len(hosts) == 1 else "none or several"
            return Refusal(
                Code.FORBIDDEN_HOST, f"this pool does not answer for the host name {shown[:80]!r}"
            )
        if origin is not None and not self._is_ours(urlsplit(origin).netloc):
            return Refusal(
                Code.FORBIDDEN_HOST, f"this pool does not answer pages of {origin[:80]!r}"
            )
        return None

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match["v6"] or match["name"]
        return name.lower() in self._names or (self._has_every_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
