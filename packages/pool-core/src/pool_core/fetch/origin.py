"""Decides where a request of ours may go, and what it may carry there: pure.

The hub's own origin is the operator's word. Everything that it redirects to is judged by its name
first and by the very address that is connected to afterwards.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = [
    "REDIRECTS_MAX",
    "Hop",
    "Reach",
    "headers_for",
    "judge_address",
    "judge_hop",
    "reach_of",
    "reach_of_name",
]

REDIRECTS_MAX: Final = 5

# What a server needs to answer at all; everything else is meant for the hub alone.
_PORTABLE: Final = frozenset({"accept", "accept-encoding", "if-range", "range", "user-agent"})

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
# Clouds answer with the secrets of a machine at these; they are in no range of their own.
_METADATA: Final[frozenset[_Address]] = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254")
)
_HOST: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9])?", re.ASCII)
# Resolvers read 127.1, 0x7f000001 and 2130706433 as addresses; names never end in such a label.
_NUMBER: Final = re.compile(r"(?:.*\.)?(?:\d+|0x[0-9a-f]*)", re.ASCII)
_LOCAL_SUFFIXES: Final = (".localhost", ".local", ".internal", ".lan", ".home.arpa")


class Reach(StrEnum):
    """How far a hub may send us: a hub of the world not into our own networks."""

    PUBLIC = "public"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class Hop:
    """One place that is asked; host is lower case and without brackets."""

    scheme: str
    host: str
    port: int
    has_userinfo: bool = False

    def is_same_origin(self, other: "Hop") -> bool:
        """True when both are one server by the rules of the web."""
        return (self.scheme, self.host, self.port) == (other.scheme, other.host, other.port)


def reach_of(addresses: Iterable[str]) -> Reach:
    """How far the hub at these addresses may send us."""
    parsed = [_unmapped(ipaddress.ip_address(address)) for address in addresses]
    return Reach.PUBLIC if all(map(_is_global, parsed)) else Reach.PRIVATE


def reach_of_name(host: str) -> Reach:
    """The same where only a proxy resolves names."""
    literal = _literal(host)
    if literal is not None:
        return reach_of([host])
    return Reach.PRIVATE if _is_local(host) else Reach.PUBLIC


def judge_hop(hop: Hop, hub: Hop, reach: Reach) -> Refusal | None:
    """Judge a place by its name; None allows it."""
    reason = _fault_of_shape(hop, hub)
    if reason is None and not hop.is_same_origin(hub):
        reason = _fault_of_place(hop, hub, reach)
    return _refused(hop, reason) if reason else None


def judge_address(hop: Hop, address: str, reach: Reach) -> Refusal | None:
    """Judge the address that would be connected to; None allows it."""
    reason = _fault_of_address(_unmapped(ipaddress.ip_address(address)), reach)
    return _refused(hop, f"{reason} ({address})") if reason else None


def headers_for(hop: Hop, hub: Hop, wanted: Mapping[str, str], token: str | None) -> dict[str, str]:
    """What goes along to a place: the token and whatever else is ours go to the hub alone."""
    lowered = {name.lower(): value for name, value in wanted.items()}
    if not hop.is_same_origin(hub):
        return {name: value for name, value in lowered.items() if name in _PORTABLE}
    return lowered | ({"authorization": f"Bearer {token}"} if token else {})


def _fault_of_shape(hop: Hop, hub: Hop) -> str | None:
    allowed = ("https", "http") if hub.scheme == "http" else ("https",)
    if hop.scheme not in allowed:
        return f"which is not {' or '.join(allowed)}"
    if hop.has_userinfo:
        return "with a name and a password in the address"
    if _literal(hop.host) is None and (
        not _HOST.fullmatch(hop.host) or ".." in hop.host or _NUMBER.fullmatch(hop.host)
    ):
        return "which is no proper name of a host"
    return None


def _fault_of_place(hop: Hop, hub: Hop, reach: Reach) -> str | None:
    literal = _literal(hop.host)
    if literal is not None:
        fault = _fault_of_address(_unmapped(literal), reach)
        if fault is not None:
            return fault
    if reach is Reach.PRIVATE:
        return None
    if literal is None and _is_local(hop.host):
        return "which is a name of a private network"
    ports = (443, 80) if hub.scheme == "http" else (443,)
    return None if hop.port in ports else f"at the unusual port {hop.port}"


def _fault_of_address(address: _Address, reach: Reach) -> str | None:
    if address in _METADATA or address.is_link_local:
        return "which is an address that only this machine's own network answers"
    # Python counts ::1 among the reserved addresses too.
    is_reserved = address.is_reserved and not address.is_loopback
    if address.is_multicast or address.is_unspecified or is_reserved:
        return "which is no address of a host"
    if reach is Reach.PUBLIC and not _is_global(address):
        return "which is an address of a private network"
    return None


def _is_global(address: _Address) -> bool:
    return address.is_global and not address.is_multicast


def _is_local(host: str) -> bool:
    return "." not in host or host.endswith(_LOCAL_SUFFIXES)


def _literal(host: str) -> _Address | None:
    try:
        return ipaddress.ip_address(host) if "%" not in host else None
    except ValueError:
        return None


def _unmapped(address: _Address) -> _Address:
    """The IPv4 address inside an IPv6 address that only carries one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    tunnel = address.teredo
    return address.ipv4_mapped or address.sixtofour or (tunnel[1] if tunnel else address)


def _refused(hop: Hop, reason: str) -> Refusal:
    line = f"a request to {hop.host[:80]!r}, {reason}, was refused: the hub has no business there"
    return Refusal(Code.FORBIDDEN_HOST, line, {"host": hop.host[:80]})
