"""Reads what `git status --porcelain=v2 --branch -z` says, strictly. Pure: bytes in, facts out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator_core.errors import Code, Refusal
from pool_ctl.git.plain import text_of

__all__ = ["STATUS_WORDS", "Change", "Kind", "Tree", "not_understood", "parse_status"]

STATUS_WORDS: Final = (
    "status",
    "--porcelain=v2",
    "--branch",
    "-z",
    "--untracked-files=normal",
    # A submodule that a setting hides could still lose work.
    "--ignore-submodules=none",
)

_INITIAL: Final = "(initial)"
_DETACHED: Final = "(detached)"
_AHEAD_BEHIND: Final = re.compile(r"\+(\d+) -(\d+)")
_STATES: Final = re.compile(r"[.MTADRCU]{2}")
_MODULE: Final = re.compile(r"N\.\.\.|S[.C][.M][.U]")


class Kind(StrEnum):
    """What is the matter with a path."""

    CHANGED = "changed"
    RENAMED = "renamed"
    CONFLICT = "conflict"
    UNTRACKED = "untracked"


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs; index and worktree are git's letters, a dot where nothing differs."""

    kind: Kind
    path: str
    index: str = "."
    worktree: str = "."
    module: str = "N..."
    before: str | None = None

    @property
    def is_work(self) -> bool:
        """Tell whether a reset of this checkout's own files would lose it.

        What differs inside a submodule is that submodule's affair, unless it is staged here.
        """
        if self.kind is Kind.UNTRACKED:
            return False
        return self.module == "N..." or self.index != "." or self.kind is Kind.CONFLICT


@dataclass(frozen=True, slots=True)
class Tree:
    """A checkout at one moment; no commit means that its branch has none yet."""

    commit: str | None = None
    branch: str | None = None
    upstream: str | None = None
    ahead: int | None = None
    behind: int | None = None
    changes: tuple[Change, ...] = ()

    @property
    def work(self) -> tuple[Change, ...]:
        """What is neither committed nor stashed."""
        return tuple(change for change in self.changes if change.is_work)

    @property
    def untracked(self) -> tuple[str, ...]:
        """What git does not know; a folder ends with a slash."""
        return tuple(it.path for it in self.changes if it.kind is Kind.UNTRACKED)


def parse_status(data: bytes) -> Tree | Refusal:
    """Read a whole answer; anything unexpected makes it worthless."""
    fields = data.split(b"\0")
    if fields.pop() != b"":
        return not_understood("status", data[-80:])
    headers: dict[str, str] = {}
    changes: list[Change] = []
    records = iter(fields)
    for record in records:
        if record.startswith(b"# "):
            name, _, value = text_of(record[2:]).partition(" ")
            headers[name] = value
            continue
        change = _change(record, records)
        if change is None:
            return not_understood("status", record)
        changes.append(change)
    return _tree(headers, tuple(changes)) or not_understood("status", data[:80])


def not_understood(what: str, data: bytes) -> Refusal:
    """The refusal of an answer that this program cannot read."""
    text = f"git {what} answers in an unknown way: {data[:80]!r}; is this git very new?"
    return Refusal(Code.GIT_FAILED, text)


def _tree(headers: dict[str, str], changes: tuple[Change, ...]) -> Tree | None:
    commit, head = headers.get("branch.oid"), headers.get("branch.head")
    if not commit or not head:
        return None
    counts = _AHEAD_BEHIND.fullmatch(headers.get("branch.ab", ""))
    return Tree(
        commit=None if commit == _INITIAL else commit,
        branch=None if head == _DETACHED else head,
        upstream=headers.get("branch.upstream"),
        ahead=int(counts[1]) if counts else None,
        behind=int(counts[2]) if counts else None,
        changes=changes,
    )


def _change(record: bytes, rest: Iterator[bytes]) -> Change | None:
    letter = record[:2]
    if letter == b"? " and len(record) > 2:
        return Change(Kind.UNTRACKED, text_of(record[2:]), "?", "?")
    if letter == b"1 ":
        return _tracked(Kind.CHANGED, record, 8)
    if letter == b"u ":
        return _tracked(Kind.CONFLICT, record, 10)
    if letter == b"2 ":
        return _tracked(Kind.RENAMED, record, 9, next(rest, b""))
    return None


def _tracked(kind: Kind, record: bytes, fields: int, before: bytes | None = None) -> Change | None:
    """Read one entry: as many fields without blanks as its kind has, then the path."""
    parts = record.split(b" ", fields)
    if len(parts) != fields + 1 or not parts[-1] or before == b"":
        return None
    states, module = text_of(parts[1]), text_of(parts[2])
    if not _STATES.fullmatch(states) or not _MODULE.fullmatch(module):
        return None
    former = None if before is None else text_of(before)
    return Change(kind, text_of(parts[-1]), states[0], states[1], module, former)
