"""Decides what a peer's answer is worth, and says in a few words what was wrong with it: pure.

A peer is another pool of the same orchestrator. It is held to more than a hub: it was told by its
certificate and its key, so that it has no reason to send us elsewhere or to answer loosely.
"""

import re
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Final

from orchestrator_core.contracts.pool import Peer
from orchestrator_core.errors import Code, Refusal
from pool_core.fetch.faults import Cause
from pool_core.fetch.settings import PeerTimes

__all__ = [
    "PEERS_MAX",
    "Absence",
    "absence_of",
    "fault_of_answer",
    "is_busy",
    "is_passing",
    "may_go_on",
    "no_of",
    "patience_s",
    "reason_of",
    "usable_peers",
]

PEERS_MAX: Final = 64

_URL: Final = re.compile(
    r"https://(?:\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9][A-Za-z0-9.-]{0,252})(?::(\d{1,5}))?", re.ASCII
)
_PORT_MAX: Final = 65535
_CERTIFICATE_MAX: Final = 64 * 1024
_KEY: Final = re.compile(r"[\x21-\x7e]{16,512}", re.ASCII)
_BUSY: Final = frozenset({429, 503})
_FAULTS: Final = frozenset({408, 425, 500, 502, 504})


class Absence(Enum):
    """How a peer that has failed is thought of for the rest of a pull."""

    OUT = auto()
    """It did what nobody does by mistake, or does not have the file: it is asked no more."""
    AWAY = auto()
    """It may have restarted, or its network broke: it may come back soon."""
    BUSY = auto()
    """It serves others and has said when to come again."""


def usable_peers(told: Iterable[Peer]) -> tuple[Peer, ...]:
    """The peers that may be asked: over TLS, with a certificate to know them by, each once."""
    found: dict[str, Peer] = {}
    for peer in told:
        if _is_usable(peer):
            found.setdefault(peer.pool_id, peer)
    return tuple(found.values())[:PEERS_MAX]


def is_busy(status: int) -> bool:
    """True where others are served now."""
    return status in _BUSY


def is_passing(status: int) -> bool:
    """True for a fault that may be over a moment later."""
    return status in _FAULTS


def no_of(status: int, wanted: int = 200) -> str:
    """What an answer of another status than the wanted one says, behind the name of the peer."""
    return _NOES.get(status, f"answered {status} instead of {wanted}")


def fault_of_answer(
    status: int, headers: Mapping[str, str], *, start: int, size_bytes: int, sha256: str
) -> str | None:
    """What is wrong with the head of an answer to "the bytes from start on"; None for nothing."""
    wanted = 206 if start > 0 else 200
    if 300 <= status < 400:
        return "wanted to send us elsewhere"
    if status != wanted:
        return no_of(status, wanted)
    if headers.get("content-encoding", "identity").lower() != "identity":
        return "packed what it sent"
    if headers.get("content-length") != str(size_bytes - start):
        return "offered another number of bytes"
    part = f"bytes {start}-{size_bytes - 1}/{size_bytes}"
    if start > 0 and headers.get("content-range") != part:
        return "offered another part than was asked for"
    if headers.get("etag", f'"{sha256}"') != f'"{sha256}"':
        return "offered another content"
    return None


def may_go_on(refusal: Refusal) -> bool:
    """True where another source may still bring the file; a full disk or a cancel ends it all."""
    return refusal.code not in (Code.CANCELLED, Code.DISK_LOW)


def absence_of(refusal: Refusal) -> Absence:
    """Whether a peer that ended with this may be asked again in the same pull."""
    cause = refusal.details.get("cause")
    if refusal.retry_after_s is not None:
        return Absence.BUSY
    if refusal.code is Code.TIMEOUT or cause in _PASSING:
        return Absence.AWAY
    is_cut = cause is None and refusal.code in (Code.UNREACHABLE, Code.RATE)
    return Absence.AWAY if is_cut else Absence.OUT


def patience_s(absence: Absence, times: PeerTimes, *, is_only_way: bool) -> float:
    """How long a peer that is absent is worth waiting for."""
    if absence is Absence.BUSY:
        return times.busy_s if is_only_way else times.busy_beside_hub_s
    return times.away_s if absence is Absence.AWAY and is_only_way else 0.0


def reason_of(refusal: Refusal) -> str:
    """Why a peer is left out, to be said right behind its name."""
    if refusal.code is Code.DATA_CORRUPT:
        return " served wrong bytes"
    cause = str(refusal.details.get("cause"))
    if cause in (Cause.ANSWER, Cause.KEY):
        return f" {refusal.message}"
    words = _WORDS.get(cause)
    # What helps a person with a hub stands behind the semicolon.
    return f" {words}" if words is not None else f": {refusal.message.partition(';')[0]}"


def _is_usable(peer: Peer) -> bool:
    found = _URL.fullmatch(peer.url.removesuffix("/"))
    certificate = peer.certificate
    return (
        found is not None
        and int(found[1] or 443) <= _PORT_MAX
        and certificate is not None
        and len(certificate) <= _CERTIFICATE_MAX
        and _KEY.fullmatch(peer.key.get_secret_value()) is not None
    )


_NOES: Final = {
    401: "does not take our key",
    403: "does not take our key",
    404: "does not have it any more",
}
# A pool that restarts shows a new key, of which the next beat tells.
_PASSING: Final = frozenset({Cause.NAME, Cause.CONNECT, Cause.SILENCE, Cause.CUT, Cause.KEY})
_WORDS: Final = {
    Cause.NAME.value: "is at no known address",
    Cause.CONNECT.value: "does not answer",
    Cause.TRUST.value: "shows another certificate than the one that it is known by",
    Cause.SILENCE.value: "sends nothing any more",
    Cause.CUT.value: "breaks off",
}
