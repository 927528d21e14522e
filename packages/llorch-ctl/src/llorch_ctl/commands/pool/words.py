"""Decides which words of a command line are ours: --host, --via and -v before `--`; pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llorch_ctl.hosts.plan import Via
from orchestrator_core.errors import Code, Refusal

__all__ = ["Words", "move_leading", "read_words"]


@dataclass(frozen=True, slots=True)
class Words:
    """What we were told, and everything that the host is told."""

    host: str | None = None
    via: Via | None = None
    verbose: bool = False
    rest: tuple[str, ...] = ()


_HOST: Final = "--host"
_VIA: Final = "--via"
_VERBOSE: Final = ("-v", "--verbose")
_END: Final = "--"


def read_words(args: Sequence[str], *, foreign_via: bool = False) -> Words | Refusal:
    """Take our options out wherever they stand; every other word stays in its place.

    foreign_via: the verb has a --via of its own, whose values are not ours and pass through.
    """
    reader = _Reader(foreign_via=foreign_via)
    words = iter(args)
    for word in words:
        if word == _END:
            reader.rest += [word, *words]
            break
        name, given, value = word.partition("=")
        if word in _VERBOSE:
            reader.verbose = True
        elif name in (_HOST, _VIA):
            told = value if given else next(words, None)
            refusal = reader.take(name, told)
            if refusal is not None:
                return refusal
        else:
            reader.rest.append(word)
    return Words(reader.host, reader.via, reader.verbose, tuple(reader.rest))


def move_leading(args: Sequence[str]) -> list[str]:
    """Put our options that stand before a verb behind it, where they are read."""
    count = 0
    while count < len(args):
        name, given, _ = args[count].partition("=")
        if name in (_HOST, _VIA):
            count += 1 if given else 2
        elif args[count] in _VERBOSE:
            count += 1
        else:
            return [args[count], *args[:count], *args[count + 1 :]]
    return list(args)


class _Reader:
    """What was found so far."""

    def __init__(self, *, foreign_via: bool) -> None:
        self._foreign_via = foreign_via
        self.host: str | None = None
        self.via: Via | None = None
        self.verbose = False
        self.rest: list[str] = []

    def take(self, name: str, value: str | None) -> Refusal | None:
        if not value:
            return _misuse(f"Option '{name}' requires an argument.")
        if name == _HOST:
            if self.host not in (None, value):
                return _misuse("--host is given twice: a command runs on one host.")
            self.host = value
        elif value in tuple(Via):
            if self.via not in (None, value):
                return _misuse("--via is given twice.")
            self.via = Via(value)
        elif self._foreign_via:
            self.rest += [_VIA, value]
        else:
            return _misuse(f"--via takes ssh, http or auto, not {value[:80]!a}.")
        return None


def _misuse(text: str) -> Refusal:
    return Refusal(Code.INVALID_REQUEST, text)
