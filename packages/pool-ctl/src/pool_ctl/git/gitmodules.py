"""Reads which submodules a checkout records and finds the one that a person means. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator_core.errors import Code, Refusal
from pool_ctl.git.plain import one_line, shell_word, text_of
from pool_ctl.git.porcelain import not_understood

__all__ = [
    "Gitlink",
    "Recorded",
    "Submodule",
    "SubmoduleState",
    "find_submodule",
    "join",
    "parse_gitlinks",
    "parse_gitmodules",
    "refuse_unusable",
]

_ENTRY: Final = re.compile(rb"([0-7]{6}) ([0-9a-f]{40,64}) ([0-3])\t(.+)", re.DOTALL)
_LINK_MODE: Final = b"160000"
_PREFIX: Final = "submodule."


class SubmoduleState(StrEnum):
    """How a submodule stands against the commit that the checkout records for it."""

    CURRENT = "current"
    MOVED = "moved"
    NOT_INITIALISED = "not initialised"
    NOT_CONFIGURED = "not in .gitmodules"
    CONFLICT = "conflict"
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Gitlink:
    """A commit of another repository that the index records at a path."""

    path: str
    commit: str
    is_conflict: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """A submodule as it is recorded; without a URL, .gitmodules does not know its path."""

    name: str
    path: str
    commit: str
    url: str | None = None
    branch: str | None = None
    is_conflict: bool = False


@dataclass(frozen=True, slots=True)
class Submodule:
    """A submodule as it lies there now; changes and untracked are counts of its own files."""

    recorded: Recorded
    state: SubmoduleState
    commit: str | None = None
    branch: str | None = None
    changes: int = 0
    untracked: int = 0
    fault: str | None = None


def parse_gitlinks(data: bytes) -> list[Gitlink] | Refusal:
    """Read the submodules out of `git ls-files --stage -z`."""
    links: dict[str, Gitlink] = {}
    for record in data.split(b"\0")[:-1]:
        found = _ENTRY.fullmatch(record)
        if found is None:
            return not_understood("ls-files", record)
        if found[1] == _LINK_MODE:
            path = text_of(found[4])
            link = Gitlink(path, text_of(found[2]), is_conflict=found[3] != b"0")
            # Of a conflict there are up to three; the second is the one of the branch here.
            if path not in links or found[3] == b"2":
                links[path] = link
    return list(links.values())


def parse_gitmodules(data: bytes) -> dict[str, dict[str, str]] | Refusal:
    """Read `git config -z --get-regexp` of .gitmodules into the settings of each name."""
    entries: dict[str, dict[str, str]] = {}
    for record in data.split(b"\0")[:-1]:
        key, _, value = text_of(record).partition("\n")
        name, _, setting = key.removeprefix(_PREFIX).rpartition(".")
        if not key.startswith(_PREFIX) or not setting:
            return not_understood("config", record)
        if name:
            entries.setdefault(name, {})[setting] = value
    return entries


def join(links: Sequence[Gitlink], entries: Mapping[str, Mapping[str, str]]) -> list[Recorded]:
    """Put together what the index and .gitmodules say; only what the index has counts."""
    by_path = {entry["path"]: (name, entry) for name, entry in entries.items() if "path" in entry}
    recorded: list[Recorded] = []
    for link in links:
        name, entry = by_path.get(link.path, (link.path, {}))
        url, branch = entry.get("url"), entry.get("branch")
        recorded.append(Recorded(name, link.path, link.commit, url, branch, link.is_conflict))
    return recorded


def find_submodule(known: Sequence[Recorded], wanted: str) -> Recorded | Refusal:
    """Find a submodule by its name or its path, or by the last part of either."""
    asked = wanted.rstrip("/")
    for fits in (
        [it for it in known if it.name == asked],
        [it for it in known if it.path == asked],
        [it for it in known if asked in (_last(it.name), _last(it.path))],
    ):
        if len(fits) == 1:
            return fits[0]
        if fits:
            paths = ", ".join(one_line(it.path) for it in fits)
            text = f"{one_line(wanted)} could be each of {paths}: give the whole path"
            return Refusal(Code.INVALID_REQUEST, text)
    names = ", ".join(one_line(it.name) for it in known)
    text = f"there is no submodule {one_line(wanted)}"
    return Refusal(Code.NOT_FOUND, f"{text}; known are: {names}" if names else f"{text}, nor any")


def refuse_unusable(module: Recorded) -> Refusal | None:
    """Refuse a submodule of which nothing can be fetched or reset."""
    path = one_line(module.path)
    if module.url is None:
        text = f"{path} is a submodule without an entry in .gitmodules: add its path and url there"
        return Refusal(Code.GIT_FAILED, text)
    if module.is_conflict:
        word = shell_word(module.path)
        text = f"{path} is in conflict between two commits: settle that with git add {word} first"
        return Refusal(Code.CONFLICT, text)
    return None


def _last(path: str) -> str:
    return path.rpartition("/")[2]
