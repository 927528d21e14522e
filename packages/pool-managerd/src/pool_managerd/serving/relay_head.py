"""Tells from the first bytes of a connection whether it asks for a relay: pure.

A relay's head is read by the letter: what another reader could understand differently is refused.
Everything else is no business of ours and goes to the HTTP server untouched.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from orchestrator_core.errors import Code, Refusal
from orchestrator_core.units import KIB

__all__ = ["HEAD_LIMIT_BYTES", "Address", "Opening", "Peek", "RelayHead", "peek"]

HEAD_LIMIT_BYTES: Final = 16 * KIB

_START: Final = b"POST /workers/"
_LINE_LIMIT_BYTES: Final = 256
_LINE: Final = re.compile(rb"POST /workers/([A-Za-z0-9][A-Za-z0-9._-]{0,127})/relay HTTP/1\.1")
_FIELD: Final = re.compile(
    rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)?[ \t]*"
)
_PROTOCOL: Final = "llorch-relay"
_ONCE: Final = ("authorization", "origin", "upgrade", "connection")


class Peek(Enum):
    """What is known when it is no relay, or not yet."""

    MORE = "more"
    ORDINARY = "ordinary"


@dataclass(frozen=True, slots=True)
class Address:
    """Where a worker listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RelayHead:
    """The worker that is meant, and the fields of the head, their names in small letters."""

    worker: str
    fields: tuple[tuple[str, str], ...]

    def values(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for key, value in self.fields if key == name]

    def value(self, name: str) -> str | None:
        """The first value of a field."""
        return next(iter(self.values(name)), None)


@dataclass(frozen=True, slots=True)
class Opening:
    """A whole head, and what the client has said behind it already."""

    head: RelayHead
    rest: bytes


def peek(data: bytes) -> Opening | Refusal | Peek:
    """Judge what a connection has said so far."""
    if not data.startswith(_START):
        return Peek.MORE if _START.startswith(data) else Peek.ORDINARY
    line, ended, _ = data[: _LINE_LIMIT_BYTES + 2].partition(b"\r\n")
    if not ended:
        return Peek.MORE if len(data) <= _LINE_LIMIT_BYTES else Peek.ORDINARY
    asked = _LINE.fullmatch(line)
    if asked is None:
        return Peek.ORDINARY
    end = data.find(b"\r\n\r\n", 0, HEAD_LIMIT_BYTES)
    if end < 0:
        if len(data) < HEAD_LIMIT_BYTES:
            return Peek.MORE
        text = f"the head of the request is larger than {HEAD_LIMIT_BYTES // KIB} KiB"
        return Refusal(Code.TOO_LARGE, text)
    fields = _read_fields(data[len(line) + 2 : end + 2])
    if isinstance(fields, Refusal):
        return fields
    head = RelayHead(asked[1].decode("ascii"), fields)
    return Opening(head, data[end + 4 :]) if _is_wished(head) else Peek.ORDINARY


def _read_fields(lines: bytes) -> tuple[tuple[str, str], ...] | Refusal:
    fields: list[tuple[str, str]] = []
    for line in lines.split(b"\r\n")[:-1]:
        field = _FIELD.fullmatch(line)
        if field is None:
            return Refusal(Code.INVALID_REQUEST, "a header of the request is not well-formed")
        fields.append((field[1].decode("ascii").lower(), (field[2] or b"").decode("ascii")))
    names = [name for name, _ in fields]
    for name in _ONCE:
        if names.count(name) > 1:
            return Refusal(Code.INVALID_REQUEST, f"the header {name} may come once")
    if "transfer-encoding" in names or any(
        value != "0" for name, value in fields if name == "content-length"
    ):
        return Refusal(Code.INVALID_REQUEST, "a request for a relay has no body")
    return tuple(fields)


def _is_wished(head: RelayHead) -> bool:
    wishes = {word.strip().lower() for word in (head.value("connection") or "").split(",")}
    return "upgrade" in wishes and (head.value("upgrade") or "").lower() == _PROTOCOL
