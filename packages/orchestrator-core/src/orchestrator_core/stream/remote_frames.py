"""The words between a command and `llorch-pool remote-exec` at a host, without input or output.

The host sends MAGIC first, so that whatever a shell printed before it is told apart; then frames
go both ways: one byte kind, four bytes length, body. The bodies of streams are unchanged bytes.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, cast

from orchestrator_core.errors import Code, DataError, Refusal
from orchestrator_core.units import MIB

__all__ = [
    "BODY_BYTES_MAX",
    "DATA_BYTES_MAX",
    "LEASE_S",
    "MAGIC",
    "RENEWAL_S",
    "STDIN_BYTES_AHEAD",
    "FrameReader",
    "Kind",
    "MagicFinder",
    "RemoteCall",
    "frame",
    "frames_of",
    "number_of",
    "read_request",
    "request_body",
    "travels",
]

MAGIC: Final = b"\0LLORCH1\0"
BODY_BYTES_MAX: Final = MIB
DATA_BYTES_MAX: Final = 65_536
# A host that has heard nothing for this long takes us for gone and ends what it runs for us.
LEASE_S: Final = 20.0
RENEWAL_S: Final = 5.0
# What may be under way to a program that does not read, so that signals still get through.
STDIN_BYTES_AHEAD: Final = 4 * DATA_BYTES_MAX

_HEAD_BYTES: Final = 5
_PREAMBLE_BYTES_MAX: Final = 65_536
# None of them holds a secret or changes what a command may do: whoever owns the key of an
# orchestrator cannot give a host other settings than its own.
_VARIABLE: Final = re.compile(
    r"LLORCH_HOME|LC_[A-Z]+|LANG|LANGUAGE|TERM|NO_COLOR|FORCE_COLOR|COLUMNS|LINES", re.ASCII
)


class Kind(Enum):
    """What a frame is; the first five go to the host, the others come from it.

    HELLO comes together with the magic and tells the version of llorch-pool there.
    """

    REQUEST = b"R"
    STDIN = b"I"
    STDIN_END = b"E"
    SIGNAL = b"S"
    RENEWAL = b"H"
    HELLO = b"V"
    STDOUT = b"1"
    STDERR = b"2"
    STDIN_TAKEN = b"T"
    EXIT = b"X"


@dataclass(frozen=True, slots=True)
class RemoteCall:
    """What a host is asked to run: arguments of llorch-pool, variables, a folder."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    cwd: str | None = None


def travels(name: str) -> bool:
    """True for the variables that a command may take along to a host."""
    return _VARIABLE.fullmatch(name) is not None


def frame(kind: Kind, body: bytes = b"") -> bytes:
    """One frame."""
    return kind.value + len(body).to_bytes(4, "big") + body


def frames_of(kind: Kind, data: bytes) -> list[bytes]:
    """The bytes of a stream as frames that fit."""
    starts = range(0, len(data), DATA_BYTES_MAX)
    return [frame(kind, data[start : start + DATA_BYTES_MAX]) for start in starts]


def number_of(body: bytes) -> int:
    """The number that a signal, an exit or a count of bytes is sent as."""
    try:
        return int(body)
    except ValueError as error:
        raise _broken("a number is expected") from error


def request_body(request: RemoteCall) -> bytes | Refusal:
    """Write a request; what no process can be given is refused here already."""
    words = (*request.argv, *request.env, *request.env.values(), request.cwd or "")
    if any("\0" in word for word in words):
        return Refusal(Code.INVALID_REQUEST, "no argument or variable can hold a NUL")
    if not all(map(_is_text, words)):
        return Refusal(Code.INVALID_REQUEST, "an argument is not UTF-8 text")
    kept = [name for name in request.env if not travels(name)]
    if kept:
        line = f"the variable {kept[0]!a} does not travel to a host"
        return Refusal(Code.INVALID_REQUEST, line)
    fields = {"argv": list(request.argv), "env": dict(request.env), "cwd": request.cwd}
    body = json.dumps(fields).encode("ascii")
    if len(body) > BODY_BYTES_MAX:
        return Refusal(Code.TOO_LARGE, f"the command line is over {BODY_BYTES_MAX} bytes")
    return body


def read_request(body: bytes) -> RemoteCall | Refusal:
    """Read a request, strictly."""
    try:
        fields: object = json.loads(body)
    except (ValueError, RecursionError):
        return _unread("it is no JSON")
    if not isinstance(fields, dict):
        return _unread("it is no object")
    named = cast("dict[str, object]", fields)
    argv, env, cwd = named.get("argv"), named.get("env", {}), named.get("cwd")
    if not isinstance(argv, list) or not isinstance(env, dict):
        return _unread("argv or env has another shape")
    words, variables = cast("list[object]", argv), cast("dict[str, object]", env)
    texts = [*words, *variables.values(), cwd or ""]
    if not all(isinstance(text, str) and "\0" not in text for text in texts):
        return _unread("it holds something that is no text")
    if not all(travels(name) for name in variables):
        return _unread("it names a variable that does not travel")
    return RemoteCall(
        tuple(cast("list[str]", words)), cast("dict[str, str]", env), cast("str | None", cwd)
    )


class MagicFinder:
    """Skips what comes before the magic, and keeps the beginning of it for a message."""

    def __init__(self) -> None:
        self.preamble = b""
        self.found = False
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Return what stands behind the magic; nothing until it has come."""
        if self.found:
            return data
        seen = self._rest + data
        at = seen.find(MAGIC)
        if at >= 0:
            self._keep(seen[:at])
            self.found = True
            return seen[at + len(MAGIC) :]
        # The beginning of the magic may be the end of what has come.
        cut = max(0, len(seen) - len(MAGIC) + 1)
        self._keep(seen[:cut])
        self._rest = seen[cut:]
        return b""

    def end(self) -> bytes:
        """Everything that came instead of the magic."""
        self._keep(self._rest)
        self._rest = b""
        return self.preamble

    def _keep(self, data: bytes) -> None:
        self.preamble += data[: _PREAMBLE_BYTES_MAX - len(self.preamble)]


class FrameReader:
    """Cuts bytes into frames; DataError for what is none."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[tuple[Kind, bytes]]:
        """Return the frames that these bytes complete."""
        rest = self._rest
        rest += data
        found: list[tuple[Kind, bytes]] = []
        start = 0
        while len(rest) - start >= _HEAD_BYTES:
            size_bytes = int.from_bytes(rest[start + 1 : start + _HEAD_BYTES], "big")
            if size_bytes > BODY_BYTES_MAX:
                raise _broken(f"a frame is over {BODY_BYTES_MAX} bytes")
            end = start + _HEAD_BYTES + size_bytes
            if len(rest) < end:
                break
            found.append((_kind(rest[start : start + 1]), bytes(rest[start + _HEAD_BYTES : end])))
            start = end
        del rest[:start]
        return found


def _kind(byte: bytearray) -> Kind:
    try:
        return Kind(bytes(byte))
    except ValueError as error:
        raise _broken("a frame is of no known kind") from error


def _is_text(word: str) -> bool:
    # Bytes of a command line that are no text are kept by Python in a way that comes back whole.
    try:
        word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def _unread(why: str) -> Refusal:
    return Refusal(Code.INVALID_REQUEST, f"the request cannot be read: {why}")


def _broken(why: str) -> DataError:
    line = f"the two sides of remote-exec are out of step: {why}"
    return DataError(Refusal(Code.DATA_CORRUPT, line))
