"""Reads from `git clean --dry-run` what it would remove, strictly. Pure: bytes in, paths out."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator_core.errors import Refusal
from pool_ctl.git.plain import bytes_of, text_of
from pool_ctl.git.porcelain import not_understood

__all__ = ["Leavings", "batches", "parse_leavings", "unquote"]

_REMOVE: Final = b"Would remove "
_SKIP: Final = b"Would skip repository "
_QUOTED: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPE: Final = re.compile(rb'\\([0-3][0-7]{2}|[abfnrtv"\\])')
_LETTERS: Final = {
    b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v",
    b'"': b'"', b"\\": b"\\",
}  # fmt: skip
# Well below what a command line may hold on any system.
_BATCH_BYTES: Final = 60_000


@dataclass(frozen=True, slots=True)
class Leavings:
    """Untracked files and folders, and repositories of their own, which git leaves alone."""

    paths: tuple[str, ...]
    repositories: tuple[str, ...] = ()


def parse_leavings(data: bytes) -> Leavings | Refusal:
    """Read the whole answer; anything unexpected makes it worthless."""
    paths: list[str] = []
    repositories: list[str] = []
    for line in data.split(b"\n")[:-1]:
        into = paths if line.startswith(_REMOVE) else repositories
        sign = _REMOVE if into is paths else _SKIP
        path = unquote(line.removeprefix(sign)) if line.startswith(sign) else None
        if not path:
            return not_understood("clean", line)
        into.append(text_of(path))
    return Leavings(tuple(paths), tuple(repositories))


def unquote(word: bytes) -> bytes | None:
    """Undo the quoting that git gives to unusual paths; None for what git never writes."""
    if not word.startswith(b'"'):
        return word
    found = _QUOTED.fullmatch(word)
    if found is None or re.search(rb"\\", _ESCAPE.sub(b"", found[1])):
        return None
    return _ESCAPE.sub(_plain, found[1])


def batches(paths: Sequence[str]) -> Iterator[list[str]]:
    """Cut a long list of paths into pieces that fit on a command line."""
    batch: list[str] = []
    size = 0
    for path in paths:
        size += len(bytes_of(path)) + 1
        if batch and size > _BATCH_BYTES:
            yield batch
            batch, size = [], len(bytes_of(path)) + 1
        batch.append(path)
    if batch:
        yield batch


def _plain(found: re.Match[bytes]) -> bytes:
    return _LETTERS.get(found[1]) or bytes([int(found[1], 8)])
