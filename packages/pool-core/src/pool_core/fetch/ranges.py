"""Decides what an answer to "the bytes from here on" means for what we already have: pure.

One table from status to rule. The hash of the whole file has the last word in any case; the rules
here keep foreign bytes out early, and keep good bytes where nothing speaks against them.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Final

from orchestrator_core.errors import Code, Refusal

__all__ = ["Answer", "Changed", "Complete", "Held", "Refuse", "Renew", "Retry", "Take", "judge"]

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19})", re.ASCII)
_UNSATISFIED: Final = re.compile(r"bytes \*/(\d{1,19})", re.ASCII)
_SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SECONDS_MAX_DIGITS: Final = 9


@dataclass(frozen=True, slots=True)
class Held:
    """What lies here of a file, and what is known of it; etag is the server's, as last seen."""

    path: str
    offset: int
    size_bytes: int
    sha256: str | None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an answer; hub_headers are the hub's own, also where it sent us elsewhere."""

    host: str
    status: int
    headers: Mapping[str, str]
    hub_headers: Mapping[str, str]
    hops: int


@dataclass(frozen=True, slots=True)
class Take:
    """The body holds the bytes from start on; 0 begins anew."""

    start: int


@dataclass(frozen=True, slots=True)
class Complete:
    """Nothing is missing: verify what is here."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What is here belongs to another content: throw it away and ask anew."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Ask again later, after the time that the server wants where it names one."""

    reason: str
    code: Code = Code.UNREACHABLE
    after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Renew:
    """The link that the hub gave us is no good any more: ask the hub for another."""

    reason: str


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing that we do helps."""

    refusal: Refusal


Verdict = Take | Complete | Changed | Retry | Renew | Refuse


def judge(held: Held, answer: Answer) -> Verdict:
    """Judge an answer by its head."""
    rule = _RULES.get(answer.status)
    if rule is not None:
        return rule(held, answer)
    if answer.status >= 500:
        return _later(held, answer)
    line = f"{answer.host} answers {answer.status} for {held.path}"
    return Refuse(Refusal(Code.UNREACHABLE, line))


def _whole(held: Held, answer: Answer) -> Verdict:
    fault = _foreign(held, answer)
    if fault is not None:
        return fault
    length = answer.headers.get("content-length")
    if length is not None and length != str(held.size_bytes):
        return Changed(f"{answer.host} offers {length[:20]} bytes instead of {held.size_bytes}")
    return Take(0)


def _part(held: Held, answer: Answer) -> Verdict:
    fault = _foreign(held, answer)
    if fault is not None:
        return fault
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", ""))
    if found is None:
        return Changed(f"{answer.host} does not say which part it sends")
    first, last, total = (int(number) for number in found.groups())
    if total != held.size_bytes:
        return Changed(f"{answer.host} offers {total} bytes instead of {held.size_bytes}")
    if first != held.offset or not first <= last < total:
        return Changed(f"{answer.host} sends another part than was asked for")
    if _is_other_version(held, answer):
        return Changed(f"{answer.host} offers another version of {held.path} than before")
    return Take(first)


def _beyond(held: Held, answer: Answer) -> Verdict:
    found = _UNSATISFIED.fullmatch(answer.headers.get("content-range", ""))
    total = int(found[1]) if found is not None else held.size_bytes
    if held.offset == held.size_bytes == total:
        return Complete()
    return Changed(f"{answer.host} has no bytes after {held.offset} of {held.path}")


def _foreign(held: Held, answer: Answer) -> Verdict | None:
    """What shows that the body is not the file, whichever part of it was asked for."""
    if answer.headers.get("content-type", "").lower().startswith("text/html"):
        return Retry(f"{answer.host} answers with a page for people instead of the file")
    if answer.headers.get("content-encoding", "identity").lower() != "identity":
        return Retry(f"{answer.host} answers with a packed body that was not asked for")
    vouched = _vouched(answer)
    if held.sha256 is not None and vouched is not None and vouched != held.sha256:
        line = f"the hub has another content for {held.path} than it listed: start again"
        return Refuse(Refusal(Code.CONFLICT, line))
    return None


def _is_other_version(held: Held, answer: Answer) -> bool:
    etag = answer.headers.get("etag")
    if held.etag is None or etag is None or etag == held.etag:
        return False
    # Two servers of one content name its version differently; the hub's own word weighs more.
    return held.sha256 is None or _vouched(answer) != held.sha256


def _vouched(answer: Answer) -> str | None:
    """The hash that the hub itself names with its answer."""
    tag = answer.hub_headers.get("x-linked-etag", "").removeprefix("W/").strip('"')
    return tag if _SHA256.fullmatch(tag) else None


def _gone(held: Held, answer: Answer) -> Verdict:
    if answer.hops > 0:
        return Renew(f"the link to {answer.host} is not valid any more ({answer.status})")
    if answer.headers.get("x-error-code") == "GatedRepo" or answer.status == 403:
        line = f"the hub keeps {held.path} closed: accept its terms there and set HF_TOKEN"
        return Refuse(Refusal(Code.MODEL_GATED, line))
    if answer.status == 401:
        line = f"the hub does not show {held.path}: it is private, or HF_TOKEN is not valid"
        return Refuse(Refusal(Code.MODEL_NOT_FOUND, line))
    return Refuse(Refusal(Code.MODEL_NOT_FOUND, f"the hub has no {held.path} any more"))


def _later(held: Held, answer: Answer) -> Verdict:  # noqa: ARG001 - every rule takes both
    limited = answer.status == 429
    reason = "wants us to slow down" if limited else "has a fault of its own"
    return Retry(
        f"{answer.host} {reason} ({answer.status})",
        code=Code.RATE if limited else Code.UNREACHABLE,
        after_s=_retry_after_s(answer.headers),
    )


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """How long the server wants us to wait; a date counts from the server's own."""
    text = headers.get("retry-after", "").strip()
    if text.isdecimal() and len(text) <= _SECONDS_MAX_DIGITS:
        return float(text)
    try:
        wanted, now = (parsedate_to_datetime(each) for each in (text, headers.get("date", "")))
        return max(0.0, (wanted - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


_LATER: Final = (408, 425, 429, 500, 502, 503, 504)
_GONE: Final = (401, 403, 404, 410)
_RULES: Final[Mapping[int, Callable[[Held, Answer], Verdict]]] = MappingProxyType(
    {200: _whole, 206: _part, 416: _beyond}
    | dict.fromkeys(_LATER, _later)
    | dict.fromkeys(_GONE, _gone)
)
